"""Masks: hone fit on nuclei, sliding windows against MONAI's, and prediction in bounded memory.

    python benchmarks/segment.py fit DATA WEIGHTS [SEEDS]    hone fit with nothing else: Dice over all pixels, time
    python benchmarks/segment.py train DATA WEIGHTS EPOCHS   the same network and length against a plain smp loop
    python benchmarks/segment.py windows                     overlapping windows, 2D and 3D: time, peak, difference
    python benchmarks/segment.py predict RUN [N]             hone predict on N images of mixed sizes, memory sampled

Every figure is from a process of its own. Processor seconds stand beside the clock's: on a machine that others use,
half of them (two cores) is what the clock would have said.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
CHANNELS = (96, 64, 32, 16, 16)
CROP, BATCH, LR = 128, 8, 1e-3
WINDOW_RUNS = 7


def fit(data: str, weights: str, seeds: int) -> None:
    """``hone fit`` as a user types it."""
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            words = ["fit", data, "--weights", weights, "--seed", str(seed), "--out", f"{folder}/run"]
            seconds, processor, _ = timed([sys.executable, "-m", "hone", *words])
            result = json.loads(Path(folder, "run", "result.json").read_text())
        final = result["final"]
        print(
            f"seed {seed}: Dice {final['dice']:.4f}, IoU {final['iou']:.4f}, mean Dice of the images "
            f"{final['mean_dice']:.4f}; {result['updates']} updates in {seconds:.0f} s ({result['seconds']:.0f} "
            f"to train and evaluate), {processor:.0f} s of processor; {result['samples_per_second']:.1f} crops/s",
            flush=True,
        )


def train(data: str, weights: str, epochs: int) -> None:
    """hone and a plain loop in turn: the same network, source, crops, batch, rate, length and augmentation."""
    for peer in ("hone", "plain"):
        seconds, processor, said = timed([sys.executable, __file__, peer, data, weights, str(epochs)])
        print(f"{peer}: {said} in {seconds:.0f} s, {processor:.0f} s of processor", flush=True)


def train_hone(data: str, weights: str, epochs: int) -> str:
    """In this process."""
    from hone import cli

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        out = f"{folder}/run"
        words = ["--model", "smp:Unet", "--model.encoder_name", "mobilenet_v2"]
        words += [
            "--model.decoder_channels",
            str(list(CHANNELS)),
            "--image-size",
            str(CROP),
            "--batch-size",
            str(BATCH),
        ]
        words += ["--lr", str(LR), "--epochs", str(epochs), "--eval-every", "100000", "--augment", "light"]
        cli.main(["fit", data, "--weights", weights, "--out", out, "--cache", "0", *words])
        return f"Dice {json.loads(Path(out, 'result.json').read_text())['final']['dice']:.4f}"


def train_plain(data: str, weights: str, epochs: int) -> str:
    """What one writes with smp and torch: a DataLoader, smp's Dice loss and torch's cross-entropy."""
    import segmentation_models_pytorch as smp
    import torch
    from torch import nn

    model = smp.Unet("mobilenet_v2", encoder_weights=None, classes=2, decoder_channels=CHANNELS)
    source = torch.load(weights, weights_only=True)
    model.encoder.load_state_dict(source, strict=False)
    loader = torch.utils.data.DataLoader(Pairs(Path(data, "train")), BATCH, shuffle=True, drop_last=True)
    total = epochs * len(loader)
    optimizer = torch.optim.AdamW(model.parameters(), LR, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=total, pct_start=0.1)
    dice, cross_entropy = smp.losses.DiceLoss("multiclass"), nn.CrossEntropyLoss()
    model.train()
    for _ in range(epochs):
        for inputs, target in loader:
            logits = model(inputs)
            loss = dice(logits, target) + cross_entropy(logits, target)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    hits = total_pixels = 0
    model.eval()
    with torch.inference_mode():
        for inputs, target in torch.utils.data.DataLoader(Pairs(Path(data, "val"), crops=False), 1):
            predicted = model(inputs).argmax(1)
            hits += int((predicted * target).sum())
            total_pixels += int(predicted.sum() + target.sum())
    return f"Dice {2 * hits / total_pixels:.4f}"


class Pairs:
    """A Dataset of images and masks, with torchvision's transforms."""

    def __init__(self, folder: Path, crops: bool = True) -> None:
        self.files, self.crops = sorted((folder / "images").iterdir()), crops

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        import numpy as np
        import torch
        from PIL import Image
        from torchvision import tv_tensors
        from torchvision.transforms import v2

        file = self.files[index]
        image = tv_tensors.Image(Image.open(file).convert("RGB"))
        mask = tv_tensors.Mask(np.array(Image.open(file.parent.parent / "masks" / file.name)))
        steps: list[Any] = [v2.ToDtype(torch.float32, scale=True)]
        if self.crops:
            side = round(CROP * random.uniform(1 / 1.5, 1 / 0.75))
            steps += [v2.RandomCrop(side, pad_if_needed=True), v2.Resize(CROP), v2.RandomHorizontalFlip()]
            steps += [v2.ColorJitter(0.1, 0.2)]
        steps += [v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
        image, mask = v2.Compose(steps)(image, mask)
        return image, mask.long()


def windows() -> None:
    """Both in fresh processes, in turn; the C library's allocator as it comes, and kept as hone's commands keep it."""
    for what, kept in itertools.product(("2", "3", "unet"), ("", "kept")):
        rows: dict[str, list[dict[str, float]]] = {"hone": [], "monai": []}
        for _ in range(WINDOW_RUNS):
            for peer, found in rows.items():
                words = [sys.executable, __file__, "window", peer, what, kept]
                said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
                found.append(json.loads(said.splitlines()[-1]))
        a, b = rows["hone"], rows["monai"]
        ratios = [y["seconds"] / x["seconds"] for x, y in zip(a, b, strict=True)]
        differ = max(abs(x["sum"] - y["sum"]) / abs(y["sum"]) for x, y in zip(a, b, strict=True))
        print(
            f"{what:4} {kept:4}  hone {_spread(a)}; MONAI {_spread(b)}; MONAI takes {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}) times the time; sums differ by {differ:.0e}",
            flush=True,
        )


def _spread(rows: list[dict[str, float]]) -> str:
    seconds, memory = ([row[name] for row in rows] for name in ("seconds", "mib"))
    return (
        f"{statistics.median(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f}), "
        f"{statistics.median(memory):.0f} MiB"
    )


def window(peer: str, what: str, kept: str) -> None:
    """One side: the best of five of one thread's time, and the peak above the input.

    "2" and "3": a network that costs next to nothing, so that the windows are what is timed; "unet": MONAI's.
    """
    import torch
    from monai.inferers import sliding_window_inference
    from monai.networks.nets import UNet

    from hone.precision import keep_freed_memory
    from hone.training import sliding_window

    if kept:
        keep_freed_memory()
    rank = 2 if what == "2" else 3
    length = 128 if what == "unet" else 192
    shape, side, overlap = ((3, 3072, 3072), 256, 0.25) if rank == 2 else ((1, length, length, length), 64, 0.5)
    unet = UNet(3, 1, 3, (8, 16, 32), (2, 2)).eval()
    inputs = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))

    def network(patches: Any) -> Any:
        if what == "unet":
            return unet(patches)
        return torch.cat([patches, 2 * patches, -patches], dim=1) if rank == 3 else 2 * patches

    def run() -> Any:
        with torch.inference_mode():
            if peer == "hone":
                return sliding_window(network, inputs, (side,) * rank, overlap=overlap)
            return sliding_window_inference(inputs, (side,) * rank, 4, network, overlap, mode="gaussian")

    torch.set_num_threads(1)
    torch.manual_seed(0)
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    before, times = peak(), []
    for _ in range(5):
        begin = time.process_time()
        found = run()
        times.append(time.process_time() - begin)
    total = float(found.double().abs().sum())
    print(json.dumps({"seconds": min(times), "mib": (peak() - before), "sum": total}))


def peak() -> float:
    """Of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def predict(run: str, count: int) -> None:
    """``hone predict`` on noise in sizes from 64x64 to 1600x1200."""
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        sizes = [(64, 64), (200, 300), (480, 640), (256, 256), (333, 77)]
        for k in range(count):
            height, width = (1200, 1600) if k % 50 == 49 else sizes[k % len(sizes)]
            pixels = chance.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Path(folder, "images").mkdir(exist_ok=True)
            Image.fromarray(pixels).save(f"{folder}/images/{k:05}.jpg")
        command = [sys.executable, "-m", "hone", "predict", run, f"{folder}/images", "--out", f"{folder}/masks"]
        series = list(sampled(command, lambda: len(list(Path(folder, "masks").glob("*.png")))))
    every = max(1, len(series) // 12)
    print(f"{count} images; own memory (MiB) after so many: {series[::every]}, most {max(own for _, own in series)}")


def sampled(command: list[str], done: Callable[[], int]) -> Iterator[tuple[int, int]]:
    """(how far it is, its own memory in MiB) twice a second."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            own = next((line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")), "0")
            yield done(), int(own) // 1024
        time.sleep(0.5)


def timed(command: list[str]) -> tuple[float, float, str]:
    """Seconds by the clock and of the processor, and the last line it said."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begin, processor, (found.stdout.strip().splitlines() or [""])[-1]


def main(words: list[str]) -> None:
    """One part; the processes that it starts are parts too."""
    what, *rest = words
    if what in ("hone", "plain"):
        print((train_hone if what == "hone" else train_plain)(rest[0], rest[1], int(rest[2])))
        return
    if what == "window":
        window(rest[0], rest[1], rest[2])
        return
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f}")
    if what == "fit":
        fit(rest[0], rest[1], int(rest[2]) if len(rest) > 2 else 3)
    elif what == "train":
        train(rest[0], rest[1], int(rest[2]))
    elif what == "windows":
        windows()
    elif what == "predict":
        predict(rest[0], int(rest[1]) if len(rest) > 1 else 1000)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:]) if len(sys.argv) > 1 else sys.exit(__doc__)
