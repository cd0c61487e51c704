"""The doctor names the module that was made to fail, finds nothing where nothing is, and leaves the model as it was."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from faulty import ARCHITECTURES, BACKWARD, FAULTS, healthy, infect, loss, places
from torch import Tensor, nn

from hone.precision import diagnose
from hone.precision.compare import difference
from hone.precision.judge import LEAST_COSINE
from hone.precision.picture import draw_layers

CASES = [
    (architecture, fault, (i + j) % 5) for i, architecture in enumerate(ARCHITECTURES) for j, fault in enumerate(FAULTS)
]


@pytest.mark.parametrize(("architecture", "fault", "turn"), CASES, ids=lambda value: str(value))
def test_the_first_bad_module_is_named(architecture: str, fault: str, turn: int) -> None:
    """One place in each network for each fault; the whole set is in benchmarks/precision.py."""
    model, batch = healthy(architecture, seed=turn)
    place = places(model)[turn % len(places(model))]
    bad = infect(model, place, fault)
    diagnosis = diagnose(model, batch, loss, kinds=["fp16"])
    assert diagnosis["fp32"].safe
    verdict = diagnosis["fp16"]
    assert not verdict.safe
    assert verdict.fault.module == bad
    assert verdict.fault.direction == ("backward" if fault in BACKWARD else "forward")
    assert verdict.fault.what in ("overflow", "underflow")


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_no_alarm_where_nothing_is_wrong(architecture: str) -> None:
    model, batch = healthy(architecture)
    diagnosis = diagnose(model, batch, loss)
    assert [v.kind for v in diagnosis.verdicts if v.safe] == ["fp32", "bf16", "fp16"], str(diagnosis)
    assert diagnosis.recommended == "bf16"


def test_a_doctor_who_looks_at_the_forward_pass_alone_would_miss_faults() -> None:
    """The variant with forward hooks only, as elsewhere: it sees nothing of a gradient that vanishes."""
    model, batch = healthy("residual")
    infect(model, "0", "TinyGradients")
    seen = []
    for module in model.modules():
        module.register_forward_hook(lambda m, a, out: seen.append(bool(out.isfinite().all())))
    with torch.autocast("cpu", torch.float16):
        model(batch[0])
    assert all(seen)
    assert not diagnose(model, batch, loss, kinds=["fp16"])["fp16"].safe


def test_the_advice_is_tried_before_it_is_given() -> None:
    model, batch = healthy("convolutional")
    first, second = infect(model, "0", "Overflows"), infect(model, "9", "Division")
    verdict = diagnose(model, batch, loss, kinds=["fp16"])["fp16"]
    assert verdict.keep_fp32 == (first, second)
    assert verdict.summary.endswith(f"safe with --keep-fp32 {first} --keep-fp32 {second}")
    infect(model, "4", "HugeGradients")
    assert diagnose(model, batch, loss, kinds=["fp16"])["fp16"].keep_fp32 == ()


def test_digits_that_bf16_has_not_are_missed() -> None:
    class Cancels(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x + 3000.0) - 3000.0

    model, batch = healthy("perceptron")
    model[1] = nn.Sequential(model[1], Cancels())
    verdict = diagnose(model, batch, loss)["bf16"]
    assert not verdict.safe
    assert (verdict.fault.module, verdict.fault.what) == ("1.1", "rounding")
    assert verdict.keep_fp32 == ("1.1",)


def test_a_model_that_magnifies_rounding_by_itself_is_no_fault() -> None:
    """Normalisations over four values: float32 with rounded weights alone turns its gradients as far."""
    torch.manual_seed(3)
    layers = [layer for _ in range(12) for layer in (nn.Linear(16, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU())]
    model, batch = nn.Sequential(*layers, nn.Linear(16, 3)), (torch.randn(4, 16), torch.randint(0, 3, (4,)))
    diagnosis = diagnose(model, batch, loss)
    assert diagnosis["bf16"].grad_cosine < LEAST_COSINE  # or the case would show nothing
    assert all(verdict.safe for verdict in diagnosis.verdicts), str(diagnosis)
    half = diagnosis["bf16"]
    assert half.is_telling == ("rounding alone turns these gradients" not in half.summary)
    assert dataclasses.replace(half, rounding_cosine=0.06).summary.endswith("more or larger samples would tell")


def test_an_operation_that_refuses_half_precision_is_named() -> None:
    class Masks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.masked_fill(x > 1e9, -1e9)  # -1e9 is no fp16 number, and torch says so

    model, batch = healthy("perceptron")
    model[5] = nn.Sequential(Masks(), nn.SiLU())
    verdict = diagnose(model, batch, loss, kinds=["fp16"])["fp16"]
    assert (verdict.fault.module, verdict.fault.operation, verdict.fault.what) == ("5.0", "masked_fill", "error")
    assert verdict.keep_fp32 == ("5.0",)


def test_what_fails_in_float32_is_not_blamed_on_precision() -> None:
    class Breaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(x - 1e9)

    model, batch = healthy("perceptron")
    model[5] = nn.Sequential(Breaks(), nn.SiLU())
    diagnosis = diagnose(model, batch, loss)
    assert [v.kind for v in diagnosis.verdicts] == ["fp32"]
    assert diagnosis["fp32"].fault.module == "5.0"
    assert diagnosis["fp32"].fault.what == "not finite"


def test_an_infinite_mask_is_no_fault() -> None:
    class CausalSelfAttention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            scores = x @ x.transpose(1, 2)
            future = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
            return scores.masked_fill(future, -math.inf).softmax(dim=-1) @ x

    model, batch = healthy("transformer")
    model[2] = CausalSelfAttention()
    assert all(verdict.safe for verdict in diagnose(model, batch, loss).verdicts)


def test_the_model_is_left_as_it_was() -> None:
    """Weights, buffers, gradients, modes, hooks and the random state."""
    model, batch = healthy("convolutional")
    model.append(nn.Dropout(0.5))
    model[1].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes, random = [m.training for m in model.modules()], torch.get_rng_state()
    diagnose(model, batch, loss)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert model[4].weight.grad is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not torch.is_autocast_enabled("cpu")


def test_layers_json_and_picture(tmp_path: Path) -> None:
    model, batch = healthy("convolutional")
    infect(model, "0", "TinyProduct")
    diagnosis = diagnose(model, batch, loss, kinds=["fp16"])
    data = json.loads(diagnosis.to_json(tmp_path / "doctor.json"))
    assert data == json.loads((tmp_path / "doctor.json").read_text())
    assert data["recommended"] == "fp32"
    layers = {(row["module"], row["operation"]): row for row in reversed(data["verdicts"][1]["layers"])}
    assert layers["0.1", "mul"]["underflow"] == 1.0
    assert layers["2", "relu"]["switches"]
    assert not layers["4", "conv2d"]["switches"]
    assert "0.1" in diagnosis.table("fp16")
    assert draw_layers(diagnosis["fp16"], tmp_path / "doctor.png").stat().st_size > 5_000


def test_difference_against_numbers_done_by_hand() -> None:
    exact = torch.tensor([3.0, 4.0, math.inf, 1e6, 2e-8, 0.0])
    half = torch.tensor([3.3, 4.0, math.inf, math.inf, 0.0, 0.0])
    found = difference(exact, half, "fp16")
    assert found.overflow == pytest.approx(1 / 6)
    assert found.underflow == pytest.approx(1 / 4)
    assert found.error == pytest.approx(0.3 / 1e6, rel=1e-4)
    assert difference(exact[:2], half[:2] * 64.0, "fp16", scale=64.0).error == pytest.approx(0.06, rel=1e-5)
    assert difference(torch.tensor([1e-9]), torch.zeros(1), "fp16").lost == 1.0
    assert difference(torch.tensor([1e-9]), torch.zeros(1), "fp16", scale=65536.0).lost == 0.0


def test_mistakes_are_told_in_one_line() -> None:
    model, (images, target) = healthy("perceptron")
    images[3, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match=r"inf or NaN in d.png.*comes from the data"):
        diagnose(model, (images, target), loss, names=["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"])
    images[3, 0, 0, 0] = 0.0
    with pytest.raises(ValueError, match="sample"):
        diagnose(model, (images / 0.0, target), loss)
    with pytest.raises(TypeError, match="loss must be float32"):
        diagnose(model, (images, target), lambda logits, target: logits.square().mean())
    with pytest.raises(ValueError, match="model must be float32"):
        diagnose(healthy("perceptron")[0].half(), (images, target), loss)
    with pytest.raises(ValueError, match="parameter that trains"):
        diagnose(model.requires_grad_(False), (images, target), loss)
    with pytest.raises(ValueError, match="kind 'fp8' is not known"):
        diagnose(model, (images, target), loss, kinds=["fp8"])
