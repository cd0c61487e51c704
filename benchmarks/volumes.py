"""Volumes: hone against MONAI's fast recipe, memory with few and many classes, and prediction in bounded memory.

    python benchmarks/volumes.py train DATA [EPOCHS]       same network, patch, batch, rates; fresh processes
    python benchmarks/volumes.py updates DATA              ms of processor an image, blocks of both in turn
    python benchmarks/volumes.py patches DATA              ms a patch, from cached volumes, one thread
    python benchmarks/volumes.py memory                    peak of a training step with 2 and with 104 classes
    python benchmarks/volumes.py predict RUN X Y Z         hone predict on a made volume, its memory sampled

Both in bf16 (MONAI by torch.autocast) where the processor has it, else in fp32.

The recipe of MONAI: CacheDataset with LoadImage, Orientation, Spacing and NormalizeIntensity cached, then random crop,
affine and intensities; DiceCELoss; AdamW, warm-up and cosine; sliding_window_inference with Gaussian weights.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
PATCH, BATCH, LR = (40, 56, 40), 2, 1e-3
NETWORK = {"channels": (16, 32, 64, 128), "strides": (2, 2, 2), "num_res_units": 2, "norm": "INSTANCE"}
GOAL = 0.82


def kind() -> str:
    """The numbers of both sides."""
    from hone.precision import native_bf16

    return "bf16" if native_bf16("cpu") else "fp32"


def autocast() -> Any:
    """MONAI's mixed precision, as its users write it."""
    import torch

    return torch.autocast("cpu", torch.bfloat16, enabled=kind() == "bf16")


def monai_loader(data: str, part: str, augment: bool) -> Any:
    """MONAI's data pipeline."""
    from monai import data as monai_data
    from monai import transforms as t

    both = ["image", "label"]
    steps: list[Any] = [
        t.LoadImaged(both),
        t.EnsureChannelFirstd(both),
        t.Orientationd(both, "RAS", labels=None),
        t.Spacingd(both, (1.0, 1.0, 1.0), mode=("bilinear", "nearest")),
        t.NormalizeIntensityd("image"),
    ]
    if augment:
        steps += [
            t.SpatialPadd(both, PATCH),
            t.RandSpatialCropd(both, PATCH, random_size=False),
            t.RandAffined(
                both,
                prob=0.5,
                rotate_range=(0.26,) * 3,
                scale_range=(0.15,) * 3,
                mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
            t.RandAdjustContrastd("image", prob=0.3, gamma=(0.67, 1.5)),
            t.RandScaleIntensityd("image", 0.25, prob=1.0),
            t.RandShiftIntensityd("image", 0.2, prob=1.0),
            t.RandGaussianNoised("image", prob=0.15, std=0.1),
        ]
    images = sorted(Path(data, part, "images").glob("*.nii.gz"))
    files = [{"image": str(path), "label": str(path).replace("images", "labels")} for path in images]
    cached = monai_data.CacheDataset(files, t.Compose(steps), progress=False)
    return monai_data.DataLoader(cached, batch_size=BATCH if augment else 1, shuffle=augment, drop_last=augment)


def train_monai(data: str, epochs: int) -> Iterator[dict[str, float]]:
    """MONAI's fast recipe in this process, a line an epoch."""
    start = time.perf_counter()
    import torch
    from monai.inferers import sliding_window_inference
    from monai.losses import DiceCELoss
    from monai.metrics import DiceMetric
    from monai.networks.nets import UNet
    from monai.utils import set_determinism

    set_determinism(0)
    train, val = monai_loader(data, "train", True), monai_loader(data, "val", False)
    model = UNet(3, 1, 3, **NETWORK)
    loss, optimizer = DiceCELoss(to_onehot_y=True, softmax=True), torch.optim.AdamW(model.parameters(), LR, fused=True)
    total, warm = epochs * len(train), epochs * len(train) // 10
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=warm),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total - warm),
        ],
        [warm],
    )
    training = 0.0
    for epoch in range(1, epochs + 1):
        model.train()
        begin = time.perf_counter()
        for batch in train:
            with autocast():
                value = loss(model(batch["image"].as_tensor()), batch["label"].as_tensor())
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        training += time.perf_counter() - begin
        metric = DiceMetric(include_background=False, num_classes=3)
        model.eval()
        with torch.inference_mode(), autocast():
            for batch in val:
                logits = sliding_window_inference(batch["image"].as_tensor(), PATCH, 4, model, 0.5, mode="gaussian")
                metric(logits.argmax(1, keepdim=True), batch["label"].as_tensor())
        per_class = metric.get_buffer().nanmean(0)
        yield {
            "epoch": epoch,
            "dice": float(per_class.mean()),
            "seconds": time.perf_counter() - start,
            "processor": time.process_time(),
            "images_per_second": epoch * len(train) * BATCH / training,
        }


def train_hone(data: str, epochs: int) -> Iterator[dict[str, float]]:
    """``hone fit`` in this process, with an empty cache, as its metrics.jsonl tells it."""
    start = time.time()
    from hone import cli

    with tempfile.TemporaryDirectory() as folder:
        os.environ["HONE_CACHE"] = f"{folder}/cache"
        updates = len(list(Path(data, "train", "images").iterdir())) // BATCH
        words = [
            "fit",
            data,
            "--out",
            f"{folder}/run",
            "--updates",
            str(epochs * updates),
            "--eval-every",
            str(updates),
        ]
        words += ["--batch-size", str(BATCH), "--lr", str(LR), "--patch-size", "x".join(map(str, PATCH))]
        words += ["--precision", kind()]
        stamps: list[tuple[float, float]] = []
        follow = threading.Thread(target=_stamp, args=(Path(folder, "run", "metrics.jsonl"), stamps, epochs))
        follow.start()
        with contextlib.redirect_stdout(io.StringIO()):
            cli.main(words)
        follow.join(5)
        rows = [json.loads(line) for line in Path(folder, "run", "metrics.jsonl").read_text().splitlines()]
        speed = json.loads(Path(folder, "run", "result.json").read_text())["samples_per_second"]
    evaluations = [row for row in rows if row["kind"] == "eval"]
    for epoch, (row, (stamp, processor)) in enumerate(zip(evaluations, stamps, strict=False), 1):
        yield {
            "epoch": epoch,
            "dice": row["metrics"]["mean_dice"],
            "seconds": stamp - start,
            "processor": processor,
            "images_per_second": speed,
        }


def _stamp(file: Path, stamps: list[tuple[float, float]], wanted: int) -> None:
    """Note the time at which each evaluation is written."""
    while len(stamps) < wanted:
        time.sleep(0.1)
        count = (
            file.read_text().count('"kind": "eval"') + file.read_text().count('"kind":"eval"') if file.exists() else 0
        )
        stamps += [(time.time(), time.process_time())] * (count - len(stamps))


def compare_training(data: str, epochs: int) -> None:
    """Both in turn."""
    rows: dict[str, list[dict[str, float]]] = {}
    for peer in ("hone", "monai"):
        found = subprocess.run(
            [sys.executable, __file__, peer, data, str(epochs)], check=True, capture_output=True, text=True
        )
        rows[peer] = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
        reached = next((row for row in rows[peer] if row["dice"] >= GOAL), None)
        last = rows[peer][-1]
        when = f"{reached['seconds']:.0f} s ({reached['processor']:.0f} of processor)" if reached else "never"
        print(
            f"{peer}: {GOAL} Dice after {when}; {last['dice']:.4f} after {last['seconds']:.0f} s "
            f"({last['processor']:.0f} of processor); {last['images_per_second']:.1f} images/s; "
            f"curve {' '.join(format(row['dice'], '.3f') for row in rows[peer])}",
            flush=True,
        )


def hone_updates(data: str) -> Iterator[Any]:
    """The loop of hone on hippocampus patches, without end; a step each."""
    import torch
    from monai.networks.nets import UNet

    from hone.data.volumes import VolumeBatches, VolumePreprocessing, read_volumes
    from hone.data.volumes.preprocessing import normalizations
    from hone.losses import SoftmaxDiceCELoss
    from hone.precision import Precision
    from hone.recipe.placing import place
    from hone.training import updates

    train: Any = read_volumes(data).train
    preprocessing = VolumePreprocessing(PATCH, (1.0, 1.0, 1.0), normalizations(train))
    batches = VolumeBatches(train, preprocessing, batch_size=BATCH, channels_last=True)
    model = place(UNet(3, 1, 3, **NETWORK), torch.device("cpu"), "channels_last")
    optimizer = torch.optim.AdamW(model.parameters(), LR, fused=True)
    precision = Precision(kind(), "cpu")
    return updates(
        model, SoftmaxDiceCELoss(), optimizer, batches.batches, total_updates=10**6, max_norm=1.0, precision=precision
    )


def monai_updates(data: str) -> Iterator[Any]:
    """The same with MONAI's parts in a plain loop."""
    import torch
    from monai.losses import DiceCELoss
    from monai.networks.nets import UNet

    loader = monai_loader(data, "train", True)
    model = UNet(3, 1, 3, **NETWORK)
    loss, optimizer = DiceCELoss(to_onehot_y=True, softmax=True), torch.optim.AdamW(model.parameters(), LR, fused=True)
    while True:
        for batch in loader:
            with autocast():
                value = loss(model(batch["image"].as_tensor()), batch["label"].as_tensor())
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            yield value.item()


def compare_updates(data: str, rounds: int = 7, each: int = 4) -> None:
    """Blocks of updates in turn, in one process: milliseconds of processor an image."""
    import torch

    torch.set_num_threads(1)
    peers = {"hone": hone_updates(data), "monai": monai_updates(data)}
    spent: dict[str, list[float]] = {name: [] for name in peers}
    for name, steps in peers.items():  # hone prepares a volume when it is first drawn; MONAI has done so
        for _ in range(40 if name == "hone" else 3):
            next(steps)
    for _ in range(rounds):
        for name, steps in peers.items():
            begin = time.process_time()
            for _ in range(each):
                next(steps)
            spent[name].append((time.process_time() - begin) * 1000 / (each * BATCH))
    for name, found in spent.items():
        print(f"{name}: {statistics.median(found):.0f} ms an image ({min(found):.0f} to {max(found):.0f})")
    ratios = sorted(b / a for a, b in zip(spent["hone"], spent["monai"], strict=True))
    print(f"MONAI takes {statistics.median(ratios):.2f} times as long ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def time_patches(data: str) -> None:
    """Cropping and augmenting alone."""
    import torch

    from hone.data.volumes import VolumeBatches, VolumePreprocessing, read_volumes
    from hone.data.volumes.preprocessing import normalizations

    torch.set_num_threads(1)
    loader = monai_loader(data, "train", True)
    train = read_volumes(data).train
    preprocessing = VolumePreprocessing(PATCH, (1.0, 1.0, 1.0), normalizations(train))  # type: ignore[arg-type]
    batches = VolumeBatches(train, preprocessing, batch_size=BATCH)  # type: ignore[arg-type]
    stream, count = batches.batches(), len(train) // BATCH
    for name, source in (("hone", lambda: [next(stream) for _ in range(count)]), ("monai", lambda: list(loader))):
        source()
        times = []
        for _ in range(5):
            begin = time.process_time()
            source()
            times.append((time.process_time() - begin) * 1000 / (count * BATCH))
        print(f"{name}: {sorted(times)[2]:.1f} ms a patch ({min(times):.1f} to {max(times):.1f})")


def step_memory(peer: str, classes: int, side: int) -> None:
    """Peak of one process that trains two steps on side^3: the second has the optimizer's state."""
    import torch
    from monai.losses import DiceCELoss
    from monai.networks.nets import UNet

    from hone.losses import SoftmaxDiceCELoss
    from hone.precision import Precision

    model = UNet(3, 1, classes, **NETWORK)
    loss = DiceCELoss(to_onehot_y=True, softmax=True) if peer == "monai" else SoftmaxDiceCELoss()
    precision = Precision("bf16" if peer == "hone-bf16" else "fp32", device="cpu")
    optimizer = torch.optim.AdamW(model.parameters(), LR, fused=True)
    inputs, target = torch.randn(1, 1, side, side, side), torch.randint(0, classes, (1, side, side, side))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    for _ in range(2):
        with precision.autocast():
            value = loss(model(inputs), target[:, None] if peer == "monai" else target)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"mib": (peak - before) / 1024, "seconds": (time.perf_counter() - begin) / 2}))


def compare_memory() -> None:
    """Fresh processes."""
    for classes, side in ((2, 96), (104, 64)):
        found = {}
        for peer in ("hone", "hone-bf16", "monai"):
            command = [sys.executable, __file__, "step", peer, str(classes), str(side)]
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
            found[peer] = json.loads(lines[-1])
        ratio = found["monai"]["mib"] / found["hone"]["mib"]
        print(
            f"{classes} classes, {side}^3: "
            + ", ".join(f"{k} {v['mib']:.0f} MiB {v['seconds']:.1f} s a step" for k, v in found.items())
        )
        print(f"  MONAI takes {ratio:.2f} times the memory")


def predict_memory(run: str, shape: tuple[int, int, int]) -> None:
    """Memory of ``hone predict`` on a made volume: its own, and pages of files, which the system may take back."""
    import nibabel
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        voxels = np.random.default_rng(0).integers(0, 1000, shape, dtype=np.int16)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), f"{folder}/made.nii")
        del voxels
        environment = {**os.environ, "HONE_CACHE": f"{folder}/cache"}
        command = [
            sys.executable,
            "-m",
            "hone",
            "predict",
            run,
            f"{folder}/made.nii",
            "--out",
            folder,
            "--memory",
            "1GB",
        ]
        process, begin = subprocess.Popen(command, env=environment), time.perf_counter()
        own, files, series = 0, 0, []
        while process.poll() is None:
            pages = _pages(process.pid)
            own, files = max(own, pages["RssAnon"]), max(files, pages["RssFile"])
            if not series or time.perf_counter() - begin > 10 * len(series):
                series.append(pages["RssAnon"])
            time.sleep(0.1)
        seconds = time.perf_counter() - begin
        size = Path(folder, "made.nii.gz").stat().st_size / 2**20
    print(f"{'x'.join(map(str, shape))}: {seconds:.0f} s, own memory at most {own} MiB, of files {files} MiB")
    print(f"own memory every 10 s: {series}; label map of {size:.1f} MiB")


def _pages(process: int) -> dict[str, int]:
    found = {"RssAnon": 0, "RssFile": 0}
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return found
    return found | {k: int(v.split()[0]) // 1024 for k, _, v in (line.partition(":") for line in lines) if k in found}


def main(words: list[str]) -> None:
    """One part; the processes that it starts are parts too."""
    what, *rest = words
    if what in ("hone", "monai"):
        for row in (train_hone if what == "hone" else train_monai)(rest[0], int(rest[1])):
            print(json.dumps(row), flush=True)
        return
    if what == "step":
        step_memory(rest[0], int(rest[1]), int(rest[2]))
        return
    versions = f"Python {platform.python_version()}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, {versions}, load {os.getloadavg()[0]:.1f}")
    if what == "train":
        compare_training(rest[0], int(rest[1]) if len(rest) > 1 else 10)
    elif what == "updates":
        compare_updates(rest[0])
    elif what == "patches":
        time_patches(rest[0])
    elif what == "memory":
        compare_memory()
    elif what == "predict":
        predict_memory(rest[0], (int(rest[1]), int(rest[2]), int(rest[3])))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:]) if len(sys.argv) > 1 else sys.exit(__doc__)
