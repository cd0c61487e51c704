"""Which number formats a device computes in, and which of them a name such as "auto" stands for."""

from __future__ import annotations

from typing import Any

import torch

from hone.checks import invalid, one_of

#: What a ``Precision`` can be asked for; "auto" resolves to one of the others.
KINDS = ("fp32", "tf32", "bf16", "fp16", "auto")
DEVICES = ("cpu", "cuda", "mps")


def native_bf16(device: torch.device | str) -> bool:
    """Whether ``device`` multiplies bfloat16 in hardware, where bf16 is fast rather than merely possible.

    CUDA: compute capability 8.0 (Ampere) or newer. CPU: AVX512-BF16 or AMX on x86, the BF16 extension on ARM; others
    emulate it, many times slower than float32. MPS: macOS 14 or newer.

    Args:
        device: a device, or its name.

    Returns:
        True where bf16 is native.

    Example:
        >>> native_bf16("meta")
        False
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "mps":
        return torch.backends.mps.is_available() and torch.backends.mps.is_macos_or_newer(14, 0)
    if device.type == "cpu":
        has: Any = torch.cpu.get_capabilities()
        return any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False


def is_fast_bf16(kind: str, device: torch.device | str) -> bool:
    """Whether ``kind`` is bfloat16, or leaves the choice, on a device that has it natively.

    Example:
        >>> is_fast_bf16("fp32", "cpu"), is_fast_bf16("auto", "meta")
        (False, False)
    """
    return kind in ("auto", "bf16") and native_bf16(device)


def resolve_kind(kind: str, device: torch.device | str) -> str:
    """The format that ``kind`` means on ``device``; "auto" is bf16 where that is native, else fp32.

    Raises:
        ValueError: the name is unknown, or the device cannot compute in that format.

    Example:
        >>> resolve_kind("fp16", "cpu")
        'fp16'
    """
    device = torch.device(device)
    one_of("precision", kind, KINDS)
    one_of("device", device.type, DEVICES)
    if kind == "auto":
        return "bf16" if native_bf16(device) else "fp32"
    if kind == "tf32" and not (device.type == "cuda" and native_bf16(device)):
        hint = "only NVIDIA GPUs of capability 8.0 or newer have it; use fp32"
        raise invalid("precision", f"be a format that {device} has", kind, hint)
    if kind in ("bf16", "fp16") and device.type == "cuda" and not torch.cuda.is_available():
        raise invalid("precision", "be a format that cuda has", kind, "torch sees no CUDA device here")
    if kind == "fp16" and device.type == "cuda" and torch.cuda.get_device_capability(device) < (5, 3):
        raise invalid("precision", f"be a format that {device} has", kind, "its capability is below 5.3; use fp32")
    return kind


def usable_kind(kind: str, device: torch.device | str) -> str:
    """The format in which to use what was trained in ``kind``: the same, or float32 where the device lacks it.

    Example:
        >>> usable_kind("tf32", "cpu"), usable_kind("bf16", "cpu")
        ('fp32', 'bf16')
    """
    try:
        return resolve_kind(kind, device)
    except ValueError:
        return "fp32"


def set_fp32_multiplication(exact: bool) -> None:
    """Make CUDA multiply float32 exactly (IEEE), or with inputs rounded to TF32's 10-bit mantissa.

    Torch itself rounds convolutions to TF32 unless told otherwise; here the name "fp32" means what it says.
    """
    torch.backends.cuda.matmul.fp32_precision = "ieee" if exact else "tf32"
    torch.backends.cudnn.conv.fp32_precision = "ieee" if exact else "tf32"  # type: ignore[attr-defined]
