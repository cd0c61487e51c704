"""``hone fit`` with nothing but data and weights, against plain torch: accuracy and seconds, fresh processes.

    python benchmarks/fit.py DATA WEIGHTS [SEEDS]

The plain loop is what a careful user writes: the same model and weights, 160 px, random resized crop and flip, batches
of 32, AdamW 3e-4 with a cosine, fp32, five epochs, an evaluation after each.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run_hone(data: str, weights: str, seed: int) -> dict[str, float]:
    """One run of the command, as a user starts it."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/run"
        command = [sys.executable, "-m", "hone", "fit", data, "--model", "mobilenet_v2", "--weights", weights]
        start = time.perf_counter()
        subprocess.run([*command, "--seed", str(seed), "--out", out], check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - start
        result = json.loads(Path(out, "result.json").read_text())
    return {"accuracy": result["best"]["value"], "seconds": result["seconds"], "wall": wall}


def run_plain(data: str, weights: str, seed: int) -> dict[str, float]:
    """The plain loop, in this process."""
    import torch
    from torch import nn
    from torchvision import datasets, models, transforms

    start = time.perf_counter()
    torch.manual_seed(seed)
    normal = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    augment = transforms.Compose(
        [transforms.RandomResizedCrop(160), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normal]
    )
    plain = transforms.Compose([transforms.Resize(183), transforms.CenterCrop(160), transforms.ToTensor(), normal])
    train = torch.utils.data.DataLoader(
        datasets.ImageFolder(f"{data}/train", augment), 32, shuffle=True, drop_last=True
    )
    val = torch.utils.data.DataLoader(datasets.ImageFolder(f"{data}/val", plain), 32)
    model = models.mobilenet_v2()
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.classifier[1] = nn.Linear(1280, 5)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5 * len(train))
    best = 0.0
    for _ in range(5):
        model.train()
        for images, target in train:
            nn.functional.cross_entropy(model(images), target).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        model.eval()
        with torch.inference_mode():
            right = sum(int((model(images).argmax(1) == target).sum()) for images, target in val)
        best = max(best, right / len(val.dataset))
    return {"accuracy": best, "seconds": time.perf_counter() - start}


def main(data: str, weights: str, seeds: int) -> None:
    """Run both in turn and print them."""
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    rows: dict[str, list[dict[str, float]]] = {"hone": [], "plain": []}
    for seed in range(seeds):
        rows["hone"].append(run_hone(data, weights, seed))
        command = [sys.executable, __file__, "plain", data, weights, str(seed)]
        rows["plain"].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(json.dumps({name: row[-1] for name, row in rows.items()}), flush=True)
    for name, found in rows.items():
        accuracy, seconds = ([row[key] for row in found] for key in ("accuracy", "seconds"))
        print(
            f"{name}: accuracy {statistics.mean(accuracy):.4f} ({', '.join(f'{a:.3f}' for a in accuracy)}), "
            f"seconds {statistics.median(seconds):.1f} ({', '.join(f'{s:.0f}' for s in seconds)})"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["plain"]:
        print(json.dumps(run_plain(sys.argv[2], sys.argv[3], int(sys.argv[4]))))
    elif len(sys.argv) >= 3:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3)
    else:
        sys.exit(__doc__)
