"""Which formats a device has: decided from what torch reports of it, simulated here for machines that are not here."""

from __future__ import annotations

import pytest
import torch

from hone.precision import Precision, native_bf16
from hone.precision import device as device_module
from hone.precision.device import resolve_kind, set_fp32_multiplication


@pytest.mark.parametrize(
    ("reported", "native"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"architecture": "arm64", "bf16": True}, True),
        ({}, False),
    ],
)
def test_a_cpu_is_native_where_it_says_so(monkeypatch: pytest.MonkeyPatch, reported: dict, native: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: reported)
    assert native_bf16("cpu") is native
    assert Precision("auto", "cpu").kind == ("bf16" if native else "fp32")


@pytest.mark.parametrize(
    ("capability", "kinds"), [((9, 0), "tf32 bf16 fp16"), ((8, 0), "tf32 bf16 fp16"), ((7, 5), "bf16 fp16")]
)
def test_a_gpu_is_native_from_capability_8(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], kinds: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert native_bf16("cuda") is (capability >= (8, 0))
    assert resolve_kind("auto", "cuda") == ("bf16" if capability >= (8, 0) else "fp32")
    for kind in ("tf32", "bf16", "fp16"):
        if kind in kinds.split():
            assert resolve_kind(kind, "cuda") == kind
        else:
            with pytest.raises(ValueError, match=f"'{kind}'; only NVIDIA GPUs"):
                resolve_kind(kind, "cuda")


def test_fp16_on_a_gpu_that_has_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (5, 0))
    with pytest.raises(ValueError, match=r"capability is below 5\.3; use fp32"):
        Precision("fp16", "cuda")


def test_half_precision_on_cuda_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch sees no CUDA device"):
        Precision("fp16", "cuda")


def test_fp32_means_float32_in_products_and_convolutions() -> None:
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [place.fp32_precision for place in places]
    try:
        for exact, setting in ((True, "ieee"), (False, "tf32")):
            set_fp32_multiplication(exact)
            assert [place.fp32_precision for place in places] == [setting, setting]
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value


def test_every_kind_is_known_to_the_resolver() -> None:
    assert device_module.KINDS == ("fp32", "tf32", "bf16", "fp16", "auto")
    assert [resolve_kind(kind, "cpu") for kind in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]
