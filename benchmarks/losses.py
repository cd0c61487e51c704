"""Time and memory of losses, forward and backward, against MONAI, smp, kornia, plain and compiled torch.

    python benchmarks/losses.py [--quick] [--only WORD] [--clock wall|cpu] [--json FILE]

Each case runs in a fresh process, once as it is and once with THP_MEM_ALLOC_ENABLE=1. Time is the median of the runs
after the first: of the clock on the wall or, where others use the machine too, of the processor under one thread.
Memory is the peak resident size above what it was with the inputs (and, where the loss compiles, its compiler) in
place, gradient included. "copy" is one copy of the logits, the floor. A peer that is not installed is named as missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

CASES = {
    "dice+ce f32 (1,14,96^3)": ("dice_ce", (1, 14, 96, 96, 96), "float32"),
    "dice+ce bf16 (1,14,96^3)": ("dice_ce", (1, 14, 96, 96, 96), "bfloat16"),
    "dice+ce f32 (2,4,128^3)": ("dice_ce", (2, 4, 128, 128, 128), "float32"),
    "dice+ce bf16 (2,4,128^3)": ("dice_ce", (2, 4, 128, 128, 128), "bfloat16"),
    "dice+ce f32 (8,19,512^2)": ("dice_ce", (8, 19, 512, 512), "float32"),
    "dice+ce bf16 (8,19,512^2)": ("dice_ce", (8, 19, 512, 512), "bfloat16"),
    "dice+bce f32 (2,1,128^3)": ("dice_bce", (2, 1, 128, 128, 128), "float32"),
    "dice+bce bf16 (2,1,128^3)": ("dice_bce", (2, 1, 128, 128, 128), "bfloat16"),
    "focal f32 (1,14,96^3)": ("focal", (1, 14, 96, 96, 96), "float32"),
    "tversky f32 (1,14,96^3)": ("tversky", (1, 14, 96, 96, 96), "float32"),
    "head f32 32->104 (1,104,96^3)": ("head", (1, 32, 96, 96, 96), "float32"),
}
PEERS = {
    "dice_ce": ("hone", "copy", "hone inplace", "monai", "smp", "kornia", "torch", "torch compiled"),
    "dice_bce": ("hone", "copy", "hone inplace", "monai", "smp", "torch", "torch compiled"),
    "focal": ("hone", "copy", "monai", "smp", "kornia", "torch compiled"),
    "tversky": ("hone", "copy", "monai", "smp", "kornia", "torch compiled"),
    "head": ("hone", "monai"),
}


def plain(kind: str) -> Callable[..., object]:
    """The loss as one would write it in torch."""
    import torch
    from torch.nn import functional as F

    def dice_ce(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        axes = (0, *range(2, x.ndim))
        p, y = x.float().softmax(1), F.one_hot(t, x.shape[1]).movedim(-1, 1)
        dice = (2 * (p * y).sum(axes) + 1) / (p.sum(axes) + y.sum(axes) + 1)
        return 1 - dice.mean() + F.cross_entropy(x.float(), t)

    def dice_bce(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        p, y = x.float().sigmoid(), t.float()
        bce = F.binary_cross_entropy_with_logits(x.float(), y)
        return 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1) + bce

    def focal(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        ce = F.cross_entropy(x.float(), t, reduction="none")
        return ((1 - torch.exp(-ce)) ** 2 * ce).mean()

    def tversky(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        axes = (0, *range(2, x.ndim))
        p, y = x.float().softmax(1), F.one_hot(t, x.shape[1]).movedim(-1, 1)
        i, f, m = (p * y).sum(axes), (p * (1 - y)).sum(axes), ((1 - p) * y).sum(axes)
        return 1 - ((i + 1) / (i + 0.3 * f + 0.7 * m + 1)).mean()

    return {"dice_ce": dice_ce, "dice_bce": dice_bce, "focal": focal, "tversky": tversky}[kind]


def hone_loss(kind: str, peer: str) -> Callable[..., object]:
    """The loss of this project."""
    import hone.losses as L

    inplace = peer.endswith("inplace")
    return {
        "dice_ce": lambda: L.SoftmaxDiceCELoss(inplace=inplace),
        "dice_bce": lambda: L.DiceBCELoss(inplace=inplace),
        "focal": lambda: L.FocalLoss(),
        "tversky": lambda: L.SoftmaxTverskyLoss(alpha=0.3, beta=0.7),
    }[kind]()


def monai_loss(kind: str) -> Callable[..., object]:
    """MONAI's; its targets have a channel axis."""
    import monai.losses as M

    many = {"to_onehot_y": True, "softmax": True, "batch": True}
    loss = {
        "dice_ce": lambda: M.DiceCELoss(**many),
        "dice_bce": lambda: M.DiceCELoss(sigmoid=True, batch=True),
        "focal": lambda: M.FocalLoss(to_onehot_y=True, use_softmax=True),
        "tversky": lambda: M.TverskyLoss(alpha=0.3, beta=0.7, **many),
    }[kind]()
    return lambda x, t: loss(x, t if kind == "dice_bce" else t.unsqueeze(1))


def smp_loss(kind: str) -> Callable[..., object]:
    """segmentation_models_pytorch's; three axes of space are flattened to two, at no cost."""
    import segmentation_models_pytorch.losses as S
    import torch

    if kind == "dice_ce":
        parts = [S.DiceLoss("multiclass"), torch.nn.CrossEntropyLoss()]
    elif kind == "dice_bce":
        parts = [S.DiceLoss("binary"), S.SoftBCEWithLogitsLoss()]
    else:
        parts = [S.FocalLoss("multiclass") if kind == "focal" else S.TverskyLoss("multiclass", alpha=0.3, beta=0.7)]

    def loss(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        if kind == "dice_bce":
            t = t.float()
        return sum(part(x.flatten(3), t.flatten(t.ndim - x.ndim + 3)) for part in parts)

    return loss


def kornia_loss(kind: str) -> Callable[..., object]:
    """kornia's; it takes two axes of space."""
    import kornia.losses as K
    from torch.nn import functional as F

    loss = {
        "dice_ce": lambda x, t: K.dice_loss(x, t) + F.cross_entropy(x, t),
        "focal": lambda x, t: K.focal_loss(x, t, alpha=None, gamma=2.0, reduction="mean"),
        "tversky": lambda x, t: K.tversky_loss(x, t, 0.3, 0.7),
    }[kind]
    return lambda x, t: loss(x.flatten(3), t.flatten(2))


def make(kind: str, peer: str) -> Callable[..., object]:
    """The loss of a peer."""
    import torch

    if peer.startswith("hone"):
        return hone_loss(kind, peer)
    if peer.startswith("torch"):
        return torch.compile(plain(kind)) if peer.endswith("compiled") else plain(kind)
    return {"monai": monai_loss, "smp": smp_loss, "kornia": kornia_loss}[peer](kind)


def resident(key: str) -> int:
    """A line of /proc/self/status in bytes: VmRSS now, VmHWM at its peak."""
    from pathlib import Path

    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {key} here: memory is measured on Linux only")


def steps(kind: str, peer: str, shape: tuple[int, ...], dtype: str) -> tuple[Callable[[], None], int]:
    """One forward and backward as a function, and how many logits it has."""
    import torch

    torch.manual_seed(0)
    x = torch.randn(shape).to(getattr(torch, dtype)).requires_grad_()
    if kind == "head":
        weight, bias = torch.randn(104, shape[1]).mul_(0.1).requires_grad_(), torch.zeros(104, requires_grad=True)
        target = torch.randint(0, 104, (shape[0], *shape[2:]))
        return head_step(peer, x, weight, bias, target), 104 * target.numel()
    if peer == "copy":  # what a gradient costs that is the logits themselves: the floor
        return lambda: x.detach().clone(), x.numel()
    target = torch.randint(0, 2, shape) if shape[1] == 1 else torch.randint(0, shape[1], (shape[0], *shape[2:]))
    loss = make(kind, peer)

    def step() -> None:
        # The view stands for the network in front: logits that are not a leaf, which inplace asks for.
        logits = x.view(shape)
        loss(logits, target).backward()
        x.grad = None

    return step, x.numel()


def head_step(peer: str, x: object, weight: object, bias: object, target: object) -> Callable[[], None]:
    """A 1x1x1 convolution and Dice + cross-entropy."""
    from torch.nn import functional as F

    import hone.losses as L

    if peer == "hone":
        loss = L.conv1x1_dice_ce
    else:
        criterion = monai_loss("dice_ce")

        def loss(x, weight, bias, target):
            return criterion(F.conv3d(x, weight[:, :, None, None, None], bias), target)

    def step() -> None:
        loss(x, weight, bias, target).backward()
        x.grad = weight.grad = bias.grad = None

    return step


def measure(
    kind: str, peer: str, shape: tuple[int, ...], dtype: str, repeats: int, clock: str = "wall"
) -> dict[str, float]:
    """Milliseconds (median, least, most) and extra bytes a logit of one case, in this process."""
    from pathlib import Path

    tiny = (shape[0], shape[1], *[8] * (len(shape) - 2))
    steps(kind, peer, tiny, dtype)[0]()  # what libraries load on their first call is not the loss's memory
    step, logits = steps(kind, peer, shape, dtype)
    if peer.endswith("compiled"):
        step()  # nor is the compiler's
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS")
    now = time.process_time if clock == "cpu" else time.perf_counter
    times = []
    for _ in range(repeats + 1):
        start = now()
        step()
        times.append((now() - start) * 1e3)
    peak = resident("VmHWM") - before
    times = sorted(times[1:])
    return {"ms": statistics.median(times), "least": times[0], "most": times[-1], "bytes": peak / logits, "peak": peak}


def run(case: str, peer: str, huge: bool, repeats: int, clock: str) -> dict[str, float] | str:
    """One case in a fresh process; a string says why there is no figure."""
    module = {"smp": "segmentation_models_pytorch"}.get(peer, peer)
    if peer in ("monai", "smp", "kornia") and importlib.util.find_spec(module) is None:
        return f"{module} is not installed"
    environment = {**os.environ, "THP_MEM_ALLOC_ENABLE": "1" if huge else "0"}
    if clock == "cpu":
        environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, "-W", "ignore", __file__, "--case", case, "--peer", peer]
    command += ["--repeats", str(repeats), "--clock", clock]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return json.loads(done.stdout.splitlines()[-1])


def machine() -> str:
    """What the figures were measured on."""
    import torch

    from hone.losses.kernels import in_use

    versions = ", ".join(
        f"{name} {version(name)}"
        for name in ("torch", "monai", "segmentation_models_pytorch", "kornia")
        if importlib.util.find_spec(name)
    )
    flags = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} {flags}, {os.cpu_count()} cores, kernels: {in_use()}; {versions}"


def main() -> None:
    """Run all cases, or with --case and --peer one in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case")
    parser.add_argument("--peer")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="three repeats, without huge pages only")
    parser.add_argument("--only", default="", help="only cases whose name has this")
    parser.add_argument("--peers", nargs="+", help="only these, and hone")
    parser.add_argument("--json", help="also write all figures to this file")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    if options.case:
        case = CASES[options.case]
        print(json.dumps(measure(case[0], options.peer, *case[1:], options.repeats, options.clock)))
        return
    repeats = 3 if options.quick else options.repeats
    print(machine())
    found = {}
    for case in (name for name in CASES if options.only in name):
        for huge in (False,) if options.quick else (False, True):
            print(f"\n{case}{', huge pages' if huge else ''}")
            for peer in (p for p in PEERS[CASES[case][0]] if p == "hone" or p in (options.peers or [p])):
                result = run(case, peer, huge, repeats, options.clock)
                found[f"{case} | {peer} | {'huge' if huge else 'small'}"] = result
                print(f"  {peer:16}{line(result, found, case, huge)}", flush=True)
    if options.json:
        from pathlib import Path

        Path(options.json).write_text(json.dumps(found, indent=1))


def line(result: dict[str, float] | str, found: dict[str, object], case: str, huge: bool) -> str:
    """One result, and how much of hone's time it took."""
    if isinstance(result, str):
        return result
    mine = found.get(f"{case} | hone | {'huge' if huge else 'small'}")
    ratio = f"{result['ms'] / mine['ms']:6.2f} x hone" if isinstance(mine, dict) else ""
    span = f"({result['least']:.0f} to {result['most']:.0f})"
    return (
        f"{result['ms']:8.1f} ms {span:>16}  {result['bytes']:6.2f} B/logit  {result['peak'] / 2**20:7.0f} MiB {ratio}"
    )


if __name__ == "__main__":
    main()
