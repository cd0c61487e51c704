"""Precision, measured: the cost of ``step``, the doctor against injected faults, parity of formats, speed of layouts.

    python benchmarks/precision.py step      # microseconds of processor time over the bare calls
    python benchmarks/precision.py doctor    # 360 injected faults in 10 networks, 50 healthy diagnoses
    python benchmarks/precision.py parity    # 200 updates on real photos: fp32, bf16, fp16, 3 seeds
    python benchmarks/precision.py speed     # fp32 plain against channels_last, huge pages, and bf16 where native

Each prints the machine, the versions, and a line per result.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from hone.precision import Plan, Precision, diagnose, native_bf16
from hone.precision.measure import prepared
from hone.precision.memory import PeakMemory

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"


def machine() -> str:
    return f"{time.strftime('%Y-%m-%d')}, torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores, " + (
        f"{torch.backends.cpu.get_cpu_capability()}, native bf16: {native_bf16('cpu')}"
    )


def quartiles(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def microseconds(call: Callable[[], object], times: int = 500) -> float:
    start = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - start) / times * 1e6


def step() -> None:
    """Paired differences: bare calls and ours take turns."""
    torch.set_num_threads(1)
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(10)))
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer, precision = torch.optim.SGD(parameters, lr=0.0), Precision("fp32", "cpu")

    def bare_with_clipping() -> None:
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    pairs = {
        "step": (optimizer.step, lambda: precision.step(optimizer)),
        "step with max_norm": (bare_with_clipping, lambda: precision.step(optimizer, max_norm=1.0)),
    }
    for name, (bare, ours) in pairs.items():
        microseconds(bare), microseconds(ours)
        rounds = [(microseconds(bare), microseconds(ours)) for _ in range(41)]
        extra = [b - a for a, b in rounds]
        print(f"{name}: bare {quartiles([a for a, _ in rounds])} us, ours adds {quartiles(extra)} us")


def doctor(names: list[str]) -> None:
    """Every fault behind every layer of every network, and the networks as they are."""
    torch.set_num_threads(1)
    sys.path.insert(0, str(ROOT / "tests" / "precision"))
    from faulty import ARCHITECTURES, FAULTS, healthy, infect, loss, places

    names = names or list(ARCHITECTURES)
    alarms = [
        (name, seed, verdict.summary)
        for name in names
        for seed in range(5)
        for verdict in diagnose(*healthy(name, seed), loss).verdicts
        if not verdict.safe
    ]
    print(f"healthy: {len(names) * 5} diagnoses of fp32, bf16 and fp16, {len(alarms)} false alarms")
    missed, count, start = [], 0, time.perf_counter()
    for name in names:
        for place in places(healthy(name)[0]):
            for fault in FAULTS:
                model, batch = healthy(name, seed=count)
                expected = infect(model, place, fault)
                diagnosis = diagnose(model, batch, loss, kinds=["fp16"])
                count += 1
                found = diagnosis["fp16"].fault if diagnosis["fp32"].safe else None
                if found is None or found.module != expected:
                    missed.append((name, place, fault, str(diagnosis)))
    seconds = time.perf_counter() - start
    print(f"injected: {count} faults, {count - len(missed)} named ({seconds / count:.2f} s a diagnosis)")
    for line in alarms + missed:
        print("  ", *line)


def photos(part: str, size: int) -> tuple[Tensor, Tensor]:
    """The flower photos as small tensors."""
    from torchvision.io import read_image
    from torchvision.transforms.v2.functional import resize

    classes = sorted(path.name for path in (DATA / "flowers5" / part).iterdir() if path.is_dir())
    images, target = [], []
    for label, name in enumerate(classes):
        for path in sorted((DATA / "flowers5" / part / name).glob("*.jpg")):
            images.append(resize(read_image(str(path)), [size, size], antialias=True).float() / 127.5 - 1)
            target.append(label)
    return torch.stack(images), torch.tensor(target)


def small_network() -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((3, 8), (8, 16), (16, 32)):
        layers += [
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5))


def accuracy_after(kind: str, seed: int, train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor]) -> tuple[float, int]:
    """Accuracy after 200 updates in ``kind``, evaluated in float32, and how many were skipped."""
    torch.manual_seed(seed)
    model, precision = small_network(), Precision(kind, "cpu")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    updates = 0
    while updates < 200:
        index = torch.randint(len(train[1]), (16,))
        with precision.autocast():
            logits = model(train[0][index])
        precision.backward(nn.functional.cross_entropy(logits.float(), train[1][index]))
        updates += not precision.step(optimizer, max_norm=1.0).skipped
        optimizer.zero_grad()
    with torch.no_grad():
        found = model.eval()(val[0]).argmax(dim=1)
    return (found == val[1]).float().mean().item(), precision.skipped


def parity() -> None:
    train, val = photos("train", 32), photos("val", 32)
    results: dict[str, list[float]] = {}
    for kind in ("fp32", "bf16", "fp16"):
        rows = [accuracy_after(kind, seed, train, val) for seed in range(3)]
        results[kind] = [accuracy for accuracy, _ in rows]
        print(kind, "accuracy", [round(a, 3) for a, _ in rows], "skipped", [skipped for _, skipped in rows], flush=True)
    noise = statistics.stdev(results["fp32"])
    for kind in ("bf16", "fp16"):
        gap = statistics.mean(results[kind]) - statistics.mean(results["fp32"])
        print(f"{kind} - fp32: {gap:+.3f} in the mean of 3 seeds; standard deviation of fp32 over seeds {noise:.3f}")


class UNet3d(nn.Module):
    """A small 3D U-Net: two levels, 16 and 32 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down = self.double(1, 16), nn.Sequential(nn.MaxPool3d(2), self.double(16, 32))
        self.up, self.last = (
            nn.ConvTranspose3d(32, 16, 2, stride=2),
            nn.Sequential(self.double(32, 16), nn.Conv3d(16, 3, 1)),
        )

    @staticmethod
    def double(before: int, after: int) -> nn.Module:
        pairs = ((before, after), (after, after))
        return nn.Sequential(
            *(layer for a, b in pairs for layer in (nn.Conv3d(a, b, 3, padding=1), nn.BatchNorm3d(b), nn.ReLU()))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(torch.cat([x, self.up(self.down(x))], dim=1)).flatten(2).mean(dim=2)


def candidates() -> dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]:
    """Name -> how to build the model, and the shape of one batch."""
    import timm
    import torchvision.models as zoo

    def vit() -> nn.Module:
        return timm.create_model("vit_tiny_patch16_224", img_size=128, num_classes=5)  # type: ignore[no-any-return]

    return {
        "mobilenet_v2": (lambda: zoo.mobilenet_v2(num_classes=5), (8, 3, 128, 128)),
        "resnet18": (lambda: zoo.resnet18(num_classes=5), (8, 3, 128, 128)),
        "vit_tiny": (vit, (8, 3, 128, 128)),
        "unet3d": (UNet3d, (2, 1, 24, 32, 24)),
        "r3d_18": (lambda: zoo.video.r3d_18(num_classes=5), (2, 3, 8, 48, 48)),
    }


def one(name: str, plan: Plan, steps: int) -> None:
    """One plan in a process of its own: huge pages are chosen by the environment before torch starts.

    One thread and processor time: on a shared machine the clock measures the neighbours.
    """
    torch.set_num_threads(1)
    build, shape = candidates()[name]
    torch.manual_seed(0)
    batch = torch.randn(*shape), torch.randint(0, 3, (shape[0],))
    sized = Plan(kind=plan.kind, channels_last=plan.channels_last, batch_size=shape[0])
    model, peak = build(), PeakMemory("cpu")
    update = prepared(model, batch, lambda x, y: nn.functional.cross_entropy(x.float(), y), sized, torch.optim.AdamW)
    update()
    rates = []
    for _ in range(steps):
        start = time.process_time()
        update()
        rates.append(shape[0] / (time.process_time() - start))
    print(json.dumps([statistics.median(rates), min(rates), max(rates), peak.read() or 0]))


def speed(names: list[str], steps: int, rounds: int) -> None:
    variants = {
        "plain fp32": ("fp32", False, "0"),
        "channels_last": ("fp32", True, "0"),
        "huge pages": ("fp32", False, "1"),
        "channels_last + huge pages": ("fp32", True, "1"),
    }
    if native_bf16("cpu"):
        variants["bf16 + channels_last + huge pages"] = ("bf16", True, "1")
    ratios: dict[str, list[float]] = {variant: [] for variant in variants}
    for name in names:
        rows: dict[str, list[list[float]]] = {variant: [] for variant in variants}
        for _ in range(rounds):
            for variant, (kind, last, pages) in variants.items():
                command = [sys.executable, __file__, "one", "--models", name, "--steps", str(steps), "--kind", kind]
                done = subprocess.run(
                    command + ["--channels-last"] * last,
                    env={**os.environ, "THP_MEM_ALLOC_ENABLE": pages},
                    capture_output=True,
                    text=True,
                    check=True,
                )
                rows[variant].append(json.loads(done.stdout.splitlines()[-1]))
                print(f"  {name} {variant}: {rows[variant][-1][0]:.2f} samples/cpu-s", flush=True)
        plain = statistics.median(row[0] for row in rows["plain fp32"])
        for variant, found in rows.items():
            rate = statistics.median(row[0] for row in found)
            low, high = min(row[1] for row in found), max(row[2] for row in found)
            ratios[variant].append(rate / plain)
            peak = max(row[3] for row in found) / 2**20
            print(
                f"{name:14} {variant:34} {rate:7.2f} samples/cpu-s ({low:.2f} to {high:.2f}), {rate / plain:.2f}x, "
                f"peak {peak:.0f} MiB",
                flush=True,
            )
    for variant, found in ratios.items():
        print(f"geometric mean {variant:34} {statistics.geometric_mean(found):.2f}x of plain fp32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["step", "doctor", "parity", "speed", "one"])
    parser.add_argument("--networks", nargs="+", default=[], help="of the doctor; all ten by default")
    parser.add_argument("--models", nargs="+", default=["mobilenet_v2", "resnet18", "vit_tiny", "unet3d", "r3d_18"])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kind", default="fp32")
    parser.add_argument("--channels-last", action="store_true")
    args = parser.parse_args()
    if args.what == "one":
        one(args.models[0], Plan(kind=args.kind, channels_last=args.channels_last), args.steps)
        return
    print(machine(), flush=True)
    tasks: dict[str, Callable[[], None]] = {
        "step": step,
        "doctor": lambda: doctor(args.networks),
        "parity": parity,
        "speed": lambda: speed(args.models, args.steps, args.rounds),
    }
    tasks[args.what]()


if __name__ == "__main__":
    main()
