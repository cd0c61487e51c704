"""Zero-option ``hone fit`` against what peers do by default, on few and on more photos: accuracy and seconds.

    python benchmarks/finetune.py run DATA WEIGHTS RESULTS.jsonl [--sizes 5,20,80] [--seeds 0-9] [--methods hone,...]
    python benchmarks/finetune.py table RESULTS.jsonl

Same backbone (MobileNetV2, ImageNet), 160 px; the peers in batches of 32 and fp32, their default. Of each class so many
training photos, drawn by the seed; val is halved class by class: the best epoch is chosen on one half, and the score is
that of the other. Every run is a process of its own and appends a line; what is in RESULTS already is not run again, so
the table can be filled in pieces. The peers are their own recipes in plain torch:

    full    full fine-tuning as a Lightning user writes it: AdamW 3e-4, cosine, 5 epochs, all layers, norms moving
    fastai  fine_tune(4): one frozen epoch of the head, then one-cycle over all layers, rates spread a hundredfold
    timm    its train.py: SGD 0.05 with momentum, warm-up and cosine, RandAugment, label smoothing, 5 epochs
    probe   logistic regression on frozen features (hone fit --strategy probe)
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIZE, BATCH = 160, 32


def draw(data: str, count: int, seed: int, folder: str) -> str:
    """A data set of links: ``count`` photos a class to train on, half of val to choose by, the other half to score."""
    generator = random.Random(f"{count} {seed}")
    for kind in sorted(path.name for path in Path(data, "train").iterdir()):
        train = sorted(Path(data, "train", kind).iterdir())
        val = sorted(Path(data, "val", kind).iterdir())
        generator.shuffle(val)
        parts = {"train": generator.sample(train, min(count, len(train)))}
        parts |= {"val": val[: len(val) // 2], "test": val[len(val) // 2 :]}
        for part, files in parts.items():
            Path(folder, part, kind).mkdir(parents=True)
            for file in files:
                Path(folder, part, kind, file.name).symlink_to(file.resolve())
    return folder


def run_hone(data: str, weights: str, seed: int, *words: str) -> dict[str, float]:
    """The command as a user starts it; it scores the test part itself."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hone", "fit", data, "--model", "mobilenet_v2", "--weights", weights, *words]
        environment = {**os.environ, "HONE_CACHE": f"{folder}/cache"}
        out = f"{folder}/run"
        options = ["--seed", str(seed), "--out", out, "--image-size", str(SIZE)]
        subprocess.run([*command, *options], check=True, env=environment, stdout=subprocess.DEVNULL)
        result = json.loads(Path(out, "result.json").read_text())
    return {"accuracy": result["final"]["accuracy"], "chosen": result["best"]["value"], "seconds": result["seconds"]}


class Peer:
    """A plain loop: the best epoch by one half of val, scored on the other."""

    def __init__(self, data: str, weights: str, seed: int, augment: Any) -> None:
        import torch
        from torchvision import datasets, models, transforms

        torch.manual_seed(seed)
        random.seed(seed)
        normal = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        end = [transforms.ToTensor(), normal]
        plain = transforms.Compose([transforms.Resize(182), transforms.CenterCrop(SIZE), *end])
        crop = [transforms.RandomResizedCrop(SIZE, (0.35, 1.0)), transforms.RandomHorizontalFlip()]
        train = datasets.ImageFolder(f"{data}/train", transforms.Compose([*crop, *augment, *end]))
        self.train = torch.utils.data.DataLoader(train, BATCH, shuffle=True, drop_last=len(train) > BATCH)
        self.parts = {
            part: torch.utils.data.DataLoader(datasets.ImageFolder(f"{data}/{part}", plain), BATCH)
            for part in ("val", "test")
        }
        self.model = models.mobilenet_v2()
        self.model.load_state_dict(torch.load(weights, weights_only=True))
        self.model.classifier[1] = torch.nn.Linear(1280, len(train.classes))
        self.start, self.best = time.perf_counter(), (-1.0, -1.0)

    def epochs(self, count: int, optimizer: Any, schedule: Any, smoothing: float = 0.0) -> None:
        """Train for some epochs; keep the score of the one that is best on val."""
        import torch

        for _ in range(count):
            self.model.train()
            for images, target in self.train:
                torch.nn.functional.cross_entropy(self.model(images), target, label_smoothing=smoothing).backward()
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
            chosen = self.accuracy("val")
            if chosen > self.best[0]:
                paused = time.perf_counter()
                self.best = chosen, self.accuracy("test")
                self.start += time.perf_counter() - paused  # the score is no part of the job

    def accuracy(self, part: str) -> float:
        """Of the weights now."""
        import torch

        self.model.eval()
        with torch.inference_mode():
            right = sum(int((self.model(x).argmax(1) == y).sum()) for x, y in self.parts[part])
        return right / len(self.parts[part].dataset)

    def result(self) -> dict[str, float]:
        """What the run came to."""
        return {"accuracy": self.best[1], "chosen": self.best[0], "seconds": time.perf_counter() - self.start}


def run_full(data: str, weights: str, seed: int) -> dict[str, float]:
    import torch

    peer = Peer(data, weights, seed, [])
    optimizer = torch.optim.AdamW(peer.model.parameters(), 3e-4)
    peer.epochs(5, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5 * len(peer.train)))
    return peer.result()


def run_fastai(data: str, weights: str, seed: int) -> dict[str, float]:
    """``fine_tune(4, base_lr=2e-3)``: the numbers are fastai's defaults."""
    import torch
    from torch.optim.lr_scheduler import OneCycleLR

    peer, base = Peer(data, weights, seed, []), 2e-3
    head, trunk = peer.model.classifier, peer.model.features
    trunk.requires_grad_(False)
    optimizer = torch.optim.AdamW(head.parameters(), base, betas=(0.9, 0.99), eps=1e-5)
    peer.epochs(1, optimizer, OneCycleLR(optimizer, base, total_steps=len(peer.train) + 1, pct_start=0.99))
    trunk.requires_grad_(True)
    blocks, top = list(trunk), base / 2
    rates = [top / 100 ** (1 - place / len(blocks)) for place in range(len(blocks))]
    groups = [{"params": list(block.parameters()), "lr": rate} for block, rate in zip(blocks, rates, strict=True)]
    optimizer = torch.optim.AdamW(
        [*groups, {"params": list(head.parameters()), "lr": top}], betas=(0.9, 0.99), eps=1e-5
    )
    steps = 4 * len(peer.train) + 1
    peer.epochs(4, optimizer, OneCycleLR(optimizer, [*rates, top], total_steps=steps, pct_start=0.3, div_factor=5.0))
    return peer.result()


def run_timm(data: str, weights: str, seed: int) -> dict[str, float]:
    import torch
    from torchvision import transforms

    peer, epochs = Peer(data, weights, seed, [transforms.RandAugment()]), 5
    steps = epochs * len(peer.train)
    optimizer = torch.optim.SGD(peer.model.parameters(), 0.05, momentum=0.9, nesterov=True, weight_decay=2e-5)

    def factor(step: int) -> float:
        warm = len(peer.train)
        return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))

    peer.epochs(epochs, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor), smoothing=0.1)
    return peer.result()


METHODS = {
    "hone": run_hone,
    "probe": lambda data, weights, seed: run_hone(data, weights, seed, "--strategy", "probe"),
    "full": run_full,
    "fastai": run_fastai,
    "timm": run_timm,
}


def cells(options: argparse.Namespace) -> Iterator[tuple[str, int, int]]:
    """(method, photos a class, seed), seed after seed, so that a table that is filled in part is balanced."""
    low, _, high = options.seeds.partition("-")
    for seed in range(int(low), int(high or low) + 1):
        for size in map(int, options.sizes.split(",")):
            yield from ((method, size, seed) for method in options.methods.split(","))


def run(options: argparse.Namespace) -> None:
    """Fill the cells that are empty."""
    results = Path(options.results)
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    done = {(row["method"], row["size"], row["seed"]) for row in rows}
    for method, size, seed in cells(options):
        if (method, size, seed) in done:
            continue
        with tempfile.TemporaryDirectory() as folder:
            draw(options.data, size, seed, folder)
            command = [sys.executable, __file__, "one", method, folder, options.weights, str(seed)]
            before = processor_seconds()
            ended = subprocess.run(command, check=True, capture_output=True, text=True)
            spent = processor_seconds() - before
            found = json.loads(ended.stdout.splitlines()[-1])
        row = {"method": method, "size": size, "seed": seed, **found, "processor": spent}
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def processor_seconds() -> float:
    """Of all processes that this one has started and that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def table(options: argparse.Namespace) -> None:
    """Mean accuracy and its standard error, and medians of the seconds: the job's, the processor's of the process."""
    rows = [json.loads(line) for line in Path(options.results).read_text().splitlines()]
    for size in sorted({row["size"] for row in rows}):
        for method in METHODS:
            found = [row for row in rows if row["method"] == method and row["size"] == size]
            if found:
                scores = [row["accuracy"] for row in found]
                error = statistics.stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else float("nan")
                seconds = statistics.median(row["seconds"] for row in found)
                mean = f"{statistics.mean(scores):.3f} +- {error:.3f}"
                spent = [row["processor"] for row in found if "processor" in row]
                busy = f"{statistics.median(spent):6.1f} s of the processor" if spent else ""
                print(f"{size:>3} a class  {method:<7} {mean}  {seconds:6.1f} s  n {len(found)}  {busy}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    runs = verbs.add_parser("run")
    for name in ("data", "weights", "results"):
        runs.add_argument(name)
    runs.add_argument("--sizes", default="5,20,80")
    runs.add_argument("--seeds", default="0-9")
    runs.add_argument("--methods", default=",".join(METHODS))
    runs.set_defaults(job=run)
    tables = verbs.add_parser("table")
    tables.add_argument("results")
    tables.set_defaults(job=table)
    options = parser.parse_args()
    options.job(options)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(METHODS[sys.argv[2]](sys.argv[3], sys.argv[4], int(sys.argv[5]))))
    else:
        main()
