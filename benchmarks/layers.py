"""torch's layers on this processor, as they are and as ``suit`` changes them: right, and fast?

    python benchmarks/layers.py wrong [SECONDS]           random convolutions against float64, seconds for each of four
    python benchmarks/layers.py slow [ROUNDS] [NETWORK]    forward and backward of whole networks, ms of the processor
    python benchmarks/layers.py prelu [ROUNDS]            forward and backward of one PReLU, ms by the clock

"wrong" runs every convolution in a process of its own, because a faulty one may damage the heap, and fills free memory
with NaN before every call, because an entry that nothing wrote shows only where the memory was used before.
"""

from __future__ import annotations

import contextlib
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hone.precision import mend_convolutions, suit

#: The largest difference from float64, as a share of the largest number, that rounding to bfloat16 explains.
ROUNDING = 0.05
LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}
PLAIN = {2: (nn.Conv2d, nn.ConvTranspose2d), 3: (nn.Conv3d, nn.ConvTranspose3d)}


def drawn(chance: random.Random) -> tuple[nn.Module, Tensor]:
    """A convolution and an input, both with numbers that bfloat16 holds."""
    axes, is_transposed = chance.choice((2, 3)), chance.random() < 0.2
    kernel = [chance.choice((1, 2, 3, 3, 3, 5, 7)) for _ in range(axes)]
    size = [chance.randint(1, 9) for _ in range(axes)]
    kernel = [kernel[0]] * axes if chance.random() < 0.7 else kernel
    size = [size[0]] * axes if chance.random() < 0.5 else size
    stride, dilation = chance.choice((1, 1, 2)), chance.choice((1, 1, 1, 2))
    inputs, outputs = chance.choice((1, 3, 8, 16, 24, 32)), chance.choice((2, 8, 16, 24, 32))
    is_depthwise = chance.random() < 0.25
    padding = [(length - 1) * dilation // 2 for length in kernel]
    layer = PLAIN[axes][is_transposed](
        inputs,
        inputs if is_depthwise else outputs,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=inputs if is_depthwise else 1,
    )
    given = torch.randn(chance.choice((1, 2, 4)), inputs, *size).bfloat16().float()
    for parameter in layer.parameters():
        parameter.data = parameter.data.bfloat16().float()
    if chance.random() < 0.6:
        layer, given = layer.to(memory_format=LAYOUTS[axes]), given.contiguous(memory_format=LAYOUTS[axes])
    return layer, given


def fill_free_memory() -> None:
    """Blocks of many sizes, filled with NaN and given back."""
    blocks = [torch.full((1 << power,), float("nan")) for power in range(4, 19) for _ in range(6)]
    del blocks


def results(layer: nn.Module, inputs: Tensor, dtype: torch.dtype, before: Callable[[], None]) -> list[Tensor]:
    """Output, gradient of the inputs, gradient of the weights."""
    layer, given = layer.to(dtype), inputs.to(dtype).requires_grad_()
    before()
    output = layer(given)
    gradient = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).bfloat16().to(dtype)
    before()
    of_inputs, of_weight = torch.autograd.grad(output, (given, layer.weight), gradient)
    return [found.detach().double() for found in (output, of_inputs, of_weight)]


def judged(seed: int, dtype: torch.dtype, is_mended: bool) -> str:
    """What is wrong with the convolution of a seed; "none" where it has no output."""
    torch.manual_seed(seed)
    layer, inputs = drawn(random.Random(seed))
    with contextlib.suppress(RuntimeError):  # kernels larger than the padded volume
        right = results(layer, inputs, torch.float64, lambda: None)
        if is_mended:
            mend_convolutions(layer)
        wrong = set()
        for _ in range(2):
            found = results(layer, inputs, dtype, fill_free_memory)
            for name, a, b in zip(("output", "inputs", "weight"), right, found, strict=True):
                if not (a - b).abs().max() <= ROUNDING * a.abs().max().clamp(min=1e-3):
                    wrong.add(name)
        return " ".join(sorted(wrong)) or "right"
    return "none"


def in_a_fork(function: Callable[[], str]) -> str:
    """What a function says in a process of its own; "crash" where it ends by a signal."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os.write(writing, function().encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return f"{said} crash".strip() if os.WIFSIGNALED(status) else said


def wrong(seconds: float) -> None:
    """The same seeds for all four, until the time is over."""
    torch.set_num_threads(1)
    for dtype in (torch.bfloat16, torch.float32):
        for is_mended in (False, True):
            found: dict[str, list[int]] = {}
            seed, begin = 0, time.perf_counter()
            while time.perf_counter() - begin < seconds:
                said = in_a_fork(lambda seed=seed, dtype=dtype, mended=is_mended: judged(seed, dtype, mended))
                found.setdefault(said, []).append(seed)
                seed += 1
            right, count = len(found.pop("right", [])), seed - len(found.pop("none", []))
            print(f"{dtype}, {'mended' if is_mended else 'plain'}: {count} convolutions, {count - right} wrong")
            for said, seeds in found.items():
                print(f"  {said or 'nothing said'}: {len(seeds)}, such as {describe(seeds[0])}", flush=True)


def describe(seed: int) -> str:
    """A convolution and its input."""
    layer, inputs = drawn(random.Random(seed))
    return f"seed {seed}, {layer} on {tuple(inputs.shape)}"


def networks() -> dict[str, tuple[Callable[[], nn.Module], Tensor]]:
    """Built by whoever asks."""
    import segmentation_models_pytorch as smp
    import timm
    from monai.networks.nets import UNet
    from torchvision.models.video import r3d_18

    images, clips, volumes = (torch.randn(shape) for shape in ((8, 3, 128, 128), (2, 3, 8, 64, 64), (2, 1, 40, 56, 40)))
    made: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
        name: (lambda name=name: timm.create_model(name, num_classes=5), images)
        for name in ("mobilenetv2_100", "efficientnet_b0", "mobilenetv3_large_100")
    }
    made["smp:Unet"] = (lambda: smp.Unet("mobilenet_v2", encoder_weights=None, classes=2), images)
    made["monai:UNet"] = (lambda: UNet(3, 1, 3, (16, 32, 64, 128), (2, 2, 2), num_res_units=2), volumes)
    made["r3d_18"] = (lambda: r3d_18(num_classes=5), clips)
    return made


def slow(rounds: int, only: str) -> None:
    """bf16 as torch has it, bf16 suited, and fp32, in turn."""
    for name, (build, inputs) in networks().items():
        if only not in name:
            continue
        layout = LAYOUTS[inputs.ndim - 2]
        given = inputs.contiguous(memory_format=layout)
        sides: dict[str, tuple[Any, bool]] = {
            "bf16": (build(), True),
            "suited": (build(), True),
            "fp32": (build(), False),
        }
        suit(sides["suited"][0], torch.device("cpu"))
        times: dict[str, list[float]] = {side: [] for side in sides}
        for count in range(rounds + 1):
            for side, (network, is_half) in sides.items():
                for parameter in network.parameters():
                    parameter.grad = None
                    if count == 0 and parameter.ndim == inputs.ndim:
                        parameter.data = parameter.data.contiguous(memory_format=layout)
                begin = time.process_time()
                with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
                    loss = network(given).float().square().mean()
                loss.backward()
                if count:
                    times[side].append(1000 * (time.process_time() - begin))
        said = [f"{side} {statistics.median(ms):.0f} ({min(ms):.0f} to {max(ms):.0f})" for side, ms in times.items()]
        print(f"{name}, {'x'.join(map(str, inputs.shape))}: {', '.join(said)} ms of the processor", flush=True)


def prelu(rounds: int) -> None:
    """torch's and ours in turn, in channels_last."""
    sides = {"torch": nn.PReLU(), "suited": suit(nn.PReLU(), torch.device("cpu"))}
    for dtype in (torch.bfloat16, torch.float32):
        for shape in ((2, 16, 40, 56, 40), (8, 32, 64, 64)):
            layout = LAYOUTS[len(shape) - 2]
            inputs = torch.randn(shape).to(dtype).contiguous(memory_format=layout).requires_grad_()
            times: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(rounds):
                for side, layer in sides.items():
                    begin = time.perf_counter()
                    output = layer.to(dtype)(inputs)
                    torch.autograd.grad(output, (inputs, *layer.parameters()), torch.ones_like(output))
                    times[side].append(1000 * (time.perf_counter() - begin))
            said = [
                f"{side} {statistics.median(ms):.2f} ({min(ms):.2f} to {max(ms):.2f})" for side, ms in times.items()
            ]
            print(f"PReLU, {dtype}, {'x'.join(map(str, shape))}: {', '.join(said)} ms", flush=True)


def main(words: list[str]) -> None:
    """One part."""
    what, *rest = words
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"{platform.machine()}, {capability}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}", flush=True)
    if what == "wrong":
        wrong(float(rest[0]) if rest else 120)
    elif what == "slow":
        slow(int(rest[0]) if rest else 6, rest[1] if len(rest) > 1 else "")
    elif what == "prelu":
        prelu(int(rest[0]) if rest else 30)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:]) if len(sys.argv) > 1 else sys.exit(__doc__)
