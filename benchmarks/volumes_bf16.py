"""bf16 against fp32 on volumes: ``hone fit DATA`` with its defaults, its Dice in either precision.

    python benchmarks/volumes_bf16.py DATA [UPDATES] [SEEDS]

A processor without bf16 units emulates them, 8 to 40 times slower than fp32. There each convolution is computed by
fp32 kernels on values that were rounded to bf16, and its result rounded to bf16: what bf16 units with fp32 sums give,
but for the order of the sums. Everything else (autocast, the loss, the update) is as hone has it. Seconds mean nothing
then, and are not printed.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_CONVOLUTION = torch.ops.aten.convolution.default
_BACKWARD = torch.ops.aten.convolution_backward.default


class RoundedConvolution(torch.autograd.Function):
    """A convolution of bf16 numbers whose products are summed in fp32 and rounded at the end."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, how: tuple[Any, ...]) -> Tensor:
        x, weight = x.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(x, weight)
        ctx.how, ctx.bias = how, None if bias is None else list(bias.shape)
        rounded = None if bias is None else bias.bfloat16().float()
        return _CONVOLUTION(x.float(), weight.float(), rounded, *how).bfloat16()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.bias is not None]
        found = _BACKWARD(gradient.float(), x.float(), weight.float(), ctx.bias, *ctx.how, wanted)
        return *(None if part is None else part.bfloat16() for part in found), None


def round_convolutions() -> None:
    """Let autocast's convolutions round instead of emulating."""
    plain, transposed = nn.Conv3d._conv_forward, nn.ConvTranspose3d.forward

    def convolve(layer: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not torch.is_autocast_enabled("cpu"):
            return plain(layer, x, weight, bias)
        how = (layer.stride, layer.padding, layer.dilation, False, (0, 0, 0), layer.groups)
        with torch.autocast("cpu", enabled=False):
            return RoundedConvolution.apply(x, weight, bias, how)

    def transpose(layer: Any, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if not torch.is_autocast_enabled("cpu"):
            return transposed(layer, x, output_size)
        how = (layer.stride, layer.padding, layer.dilation, True, layer.output_padding, layer.groups)
        with torch.autocast("cpu", enabled=False):
            return RoundedConvolution.apply(x, layer.weight, layer.bias, how)

    nn.Conv3d._conv_forward, nn.ConvTranspose3d.forward = convolve, transpose  # type: ignore[method-assign]


def one(data: str, precision: str, updates: str, seed: str) -> None:
    """One run; its evaluations as a line of JSON."""
    from hone import cli
    from hone.precision import native_bf16

    if precision == "bf16" and not native_bf16("cpu"):
        round_convolutions()
    with tempfile.TemporaryDirectory() as folder:
        words = ["fit", data, "--out", f"{folder}/run", "--precision", precision, "--seed", seed, "--device", "cpu"]
        with contextlib.redirect_stdout(io.StringIO()):
            code = cli.main([*words, "--updates", updates])
        rows = [json.loads(line) for line in Path(folder, "run", "metrics.jsonl").read_text().splitlines()]
        result = json.loads(Path(folder, "run", "result.json").read_text())
    curve = [round(row["metrics"]["mean_dice"], 4) for row in rows if row["kind"] == "eval"]
    print(json.dumps({"code": code, "best": result["best"]["value"], "skipped": result["skipped"], "curve": curve}))


def main(data: str, updates: str = "1000", seeds: str = "1") -> None:
    """Both precisions in turn, fresh processes, seed after seed."""
    for seed in range(int(seeds)):
        for precision in ("fp32", "bf16"):
            command = [sys.executable, __file__, "one", data, precision, updates, str(seed)]
            found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
            print(f"seed {seed} {precision}: {found[-1]}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(*sys.argv[2:])
    else:
        main(*sys.argv[1:]) if len(sys.argv) > 1 else sys.exit(__doc__)
