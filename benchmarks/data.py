"""What reading data costs: start-up with 50,000 images, memory, and images per second of the loader.

    python benchmarks/data.py start    # makes 50,000 small JPEGs in a temporary folder
    python benchmarks/data.py speed ../shared/data/flowers5

Everything runs on one thread; each start is a fresh process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

SIZE, BATCH = 160, 32


def make_images(folder: Path, count: int, classes: int = 50) -> None:
    """Write small JPEGs, 200 different ones again and again, in class folders."""
    import io

    import numpy as np
    from PIL import Image

    contents = []
    for seed in range(200):
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(coarse).resize((80, 64), Image.Resampling.BICUBIC).save(stream, "jpeg", quality=90)
        contents.append(stream.getvalue())
    for place in range(classes):
        (folder / f"class{place:02}").mkdir(parents=True)
        for k in range(place, count, classes):
            (folder / f"class{place:02}" / f"{k:06}.jpg").write_bytes(contents[k % 200])


def private_megabytes(pids: list[int]) -> float:
    """Memory that belongs to these processes alone, anonymous pages: what grows when something leaks."""
    total = 0
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        total += int(status.split("RssAnon:")[1].split()[0])
    return total / 1024


def one_start(folder: Path, batches: int, workers: int) -> dict[str, Any]:
    """Import, read, first batch; then memory along the way. In a fresh process."""
    import multiprocessing

    began = time.perf_counter()
    import torch

    from hone.data import Preprocessing, TrainBatches, read_examples

    torch.set_num_threads(1)
    imported, imported_cpu = time.perf_counter(), time.process_time()
    splits = read_examples(folder)
    read = time.perf_counter()
    train = TrainBatches(splits.train, Preprocessing(image_size=56), batch_size=BATCH, workers=workers, cache="1GB")
    source = train.batches()
    next(source)
    first, first_cpu = time.perf_counter(), time.process_time()
    memory = []
    for place, _ in enumerate(source):
        if place % max(1, batches // 8) == 0:
            memory.append(private_megabytes([os.getpid(), *(p.pid or 0 for p in multiprocessing.active_children())]))
        if place >= batches:
            break
    source.close()
    return {
        "summary": splits.summary(),
        "import": imported - began,
        "read": read - imported,
        "first_batch": first - read,
        "start": first - imported,
        "start_cpu": first_cpu - imported_cpu,
        "memory_mb": [round(value) for value in memory],
    }


def start(count: int, batches: int, workers: int) -> None:
    """First and second start on made images."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "images"
        make_images(folder, count)
        environment = os.environ | {"HONE_CACHE": f"{temporary}/cache"}
        for name in ("first", "second", "third"):
            command = [sys.executable, __file__, "one", str(folder), str(batches), str(workers)]
            result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            print(name, result.stdout.strip(), flush=True)


def hone_batches(data: Path, **options: Any) -> Callable[[], Iterator[Any]]:
    """Makes a stream of hone's training batches."""
    from hone.data import Preprocessing, TrainBatches, read_examples

    train = read_examples(data).train
    batches = TrainBatches(train, Preprocessing(image_size=SIZE), batch_size=BATCH, channels_last=True, **options)
    return batches.batches


def torchvision_batches(data: Path, workers: int = 0) -> Callable[[], Iterator[Any]]:
    """The usual pipeline: ImageFolder, RandomResizedCrop, flip, to float, normalise; DataLoader."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    steps = [v2.RandomResizedCrop(SIZE, scale=(0.35, 1.0)), v2.RandomHorizontalFlip(), v2.ToImage()]
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    data_set = ImageFolder(str(data / "train"), v2.Compose(steps))
    loader = DataLoader(data_set, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers)

    def endless() -> Iterator[Any]:
        while True:
            yield from loader

    return endless


def milliseconds(
    make: Callable[[], Iterator[Any]], batches: int, repeats: int, clock: Callable[[], float]
) -> list[float]:
    """Milliseconds an image of each repeat, after one that warms up."""
    source = make()
    spent = []
    for _ in range(repeats + 1):
        began = clock()
        for _ in islice(source, batches):
            pass
        spent.append((clock() - began) * 1000 / (batches * BATCH))
    if hasattr(source, "close"):
        source.close()
    return spent[1:]


def speed(data: Path, workers: int, repeats: int) -> None:
    """Milliseconds an image of hone's and torchvision's pipelines, one after another in one process.

    Without workers, of processor time: other programs on the machine hardly change it.
    """
    import torch

    clock = time.perf_counter if workers else time.process_time
    print("wall-clock time" if workers else "processor time of one thread")

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["HONE_CACHE"] = temporary
        cases = {
            "torchvision ImageFolder": torchvision_batches(data, workers),
            "hone, no cache": hone_batches(data, cache=0, workers=workers),
            "hone, cached": hone_batches(data, cache="2GB", workers=workers),
            "hone, cached, augment none": hone_batches(data, cache="2GB", augment="none", workers=workers),
            "hone, cached, augment strong": hone_batches(data, cache="2GB", augment="strong", workers=workers),
        }
        base = None
        for name, make in cases.items():
            spent = milliseconds(make, 12, repeats, clock)
            middle = statistics.median(spent)
            base = base or middle
            print(
                f"{name:30} {middle:6.2f} ms an image ({min(spent):.2f} to {max(spent):.2f}),"
                f" {1000 / middle:6.0f} images/s, {base / middle:.2f} x",
                flush=True,
            )


def main() -> None:
    """Choose the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    begin = kinds.add_parser("start")
    begin.add_argument("--count", type=int, default=50_000)
    begin.add_argument("--batches", type=int, default=1600)
    begin.add_argument("--workers", type=int, default=1)
    one = kinds.add_parser("one")
    one.add_argument("folder", type=Path)
    one.add_argument("batches", type=int)
    one.add_argument("workers", type=int)
    rate = kinds.add_parser("speed")
    rate.add_argument("data", type=Path)
    rate.add_argument("--workers", type=int, default=0)
    rate.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if options.kind == "start":
        start(options.count, options.batches, options.workers)
    elif options.kind == "one":
        print(json.dumps(one_start(options.folder, options.batches, options.workers)))
    else:
        speed(options.data, options.workers, options.repeats)


if __name__ == "__main__":
    main()
