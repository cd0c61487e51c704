"""``Precision``: the numbers of bare torch, exact skips, several optimizers, complete state, and clear errors."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from hone.precision import Precision, ScaleCollapseError, StepResult

KINDS = ("fp32", "bf16", "fp16")


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))


def batch(attempt: int, poison: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(100 + attempt)
    images = torch.randn(8, 6, generator=generator)
    target = torch.randint(0, 3, (8,), generator=generator)
    return (images * (math.inf if poison else 1.0), target)


def attempt_once(
    model: nn.Module, precision: Precision, optimizers: list[torch.optim.Optimizer], attempt: int, poison: bool = False
) -> StepResult:
    """One attempt; a poisoned one has an inf in its scaled gradients, from outside, by a factor on the loss."""
    images, target = batch(attempt)
    with precision.autocast():
        logits = model(images)
    loss = nn.functional.cross_entropy(logits.float(), target)
    precision.backward(loss * math.inf if poison else loss)
    result = precision.step(*optimizers, max_norm=0.5)
    for optimizer in optimizers:
        optimizer.zero_grad()
    return result


def optimizers_of(model: nn.Module, fused: bool = False) -> list[torch.optim.Optimizer]:
    first, *_, last = model.children()
    return [
        torch.optim.AdamW(first.parameters(), lr=1e-2, fused=fused),
        torch.optim.AdamW(last.parameters(), lr=3e-3, fused=fused),
    ]


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_updates_equal_bare_torch(kind: str) -> None:
    """The oracle is a loop written with torch alone, one optimizer, as torch's own AMP examples have it."""
    ours, theirs = network(), network()
    precision, mine = Precision(kind, "cpu"), torch.optim.AdamW(ours.parameters(), lr=1e-2)
    other = torch.optim.AdamW(theirs.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cpu", enabled=kind == "fp16")
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(kind)
    for attempt in range(20):
        attempt_once(ours, precision, [mine], attempt)
        images, target = batch(attempt)
        with torch.autocast("cpu", half or torch.bfloat16, enabled=half is not None):
            logits = theirs(images)
        scaler.scale(nn.functional.cross_entropy(logits.float(), target)).backward()
        scaler.unscale_(other)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        scaler.step(other)
        scaler.update()
        other.zero_grad()
    assert same(weights(ours), weights(theirs))
    assert not same(weights(ours), weights(network()))


def poisoned_attempts() -> Iterator[frozenset[int]]:
    yield from map(frozenset, ([], [0], [3], [2, 3, 4], [0, 5, 11], list(range(9))))


@pytest.mark.parametrize("poisoned", list(poisoned_attempts()), ids=str)
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_exactly_the_overflowing_attempts_are_skipped(poisoned: frozenset[int], fused: bool) -> None:
    """Skipped as a whole (both optimizers, one overflow), and the good ones are as if the bad had never been."""
    model, clean = network(), network()
    optimizers, clean_optimizers = optimizers_of(model, fused), optimizers_of(clean, fused)
    precision, clean_precision = Precision("fp16", "cpu"), Precision("fp16", "cpu")
    skipped = set()
    for attempt in range(12):
        before = weights(model)
        result = attempt_once(model, precision, optimizers, attempt, attempt in poisoned)
        if attempt not in poisoned:
            clean_precision._scaler.load_state_dict(
                {**clean_precision._scaler.state_dict(), "scale": result.scale.item()}
            )
            attempt_once(clean, clean_precision, clean_optimizers, attempt)
        if result.skipped:
            skipped.add(attempt)
            assert same(before, weights(model))
    assert skipped == poisoned
    assert (precision.attempted, precision.skipped) == (12, len(poisoned))
    assert same(weights(model), weights(clean))
    assert precision.state_dict()["scale"] == 65536.0 * 0.5 ** len(poisoned)


def test_an_overflow_in_one_optimizer_skips_the_other() -> None:
    model = network()
    optimizers, precision = optimizers_of(model), Precision("fp16", "cpu")
    handle = model[2].weight.register_hook(lambda grad: grad * math.inf)
    before = weights(model)
    assert attempt_once(model, precision, optimizers, 0).skipped
    assert same(before, weights(model))
    handle.remove()
    assert not attempt_once(model, precision, optimizers, 1).skipped


def test_one_scaler_for_each_optimizer_would_fail_that_law() -> None:
    """The variant that lets the scaler decide per optimizer, as torch does by itself, moves the other one."""
    model = network()
    model[2].weight.register_hook(lambda grad: grad * math.inf)
    scaler, before = torch.amp.GradScaler("cpu"), weights(model)
    images, target = batch(0)
    scaler.scale(nn.functional.cross_entropy(model(images), target)).backward()
    for optimizer in optimizers_of(model):
        scaler.step(optimizer)
    scaler.update()
    assert not same(before, weights(model))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [1, 4, 7])
def test_resume_goes_on_bit_for_bit_through_skips(kind: str, stop: int) -> None:
    poisoned = {2, 3, 6} if kind == "fp16" else set()

    def run(model: nn.Module, precision: Precision, optimizers: list[torch.optim.Optimizer], span: range) -> None:
        for attempt in span:
            attempt_once(model, precision, optimizers, attempt, attempt in poisoned)

    whole, half = network(), network()
    once = Precision(kind, "cpu", **({"growth_interval": 2} if kind == "fp16" else {}))
    run(whole, once, optimizers_of(whole), range(10))
    precision, optimizers = Precision(kind, "cpu", growth_interval=2), optimizers_of(half)
    run(half, precision, optimizers, range(stop))
    saved = copy.deepcopy((half.state_dict(), precision.state_dict(), [o.state_dict() for o in optimizers]))
    again = network(seed=9)
    again.load_state_dict(saved[0])
    resumed, optimizers = Precision(kind, "cpu"), optimizers_of(again)
    resumed.load_state_dict(saved[1])
    for optimizer, state in zip(optimizers, saved[2], strict=True):
        optimizer.load_state_dict(state)
    run(again, resumed, optimizers, range(stop, 10))
    assert same(weights(whole), weights(again))
    assert once.state_dict() == resumed.state_dict()


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_ten_skips_in_a_row_stop_with_a_diagnosis(fused: bool) -> None:
    model = network()
    optimizers, precision = optimizers_of(model, fused), Precision("fp16", "cpu", init_scale=2.0**20)
    for attempt in range(9):
        assert attempt_once(model, precision, optimizers, attempt, poison=True).skipped
    assert not attempt_once(model, precision, optimizers, 9).skipped
    with pytest.raises(ScaleCollapseError, match=r"10 updates in a row were skipped .*diagnose"):
        for attempt in range(11):  # a fused optimizer's flag is read one attempt late
            attempt_once(model, precision, optimizers, attempt, poison=True)
    assert precision.skipped == 19


def test_a_scale_below_one_stops_with_a_diagnosis() -> None:
    model = network()
    optimizers, precision = optimizers_of(model), Precision("fp16", "cpu", init_scale=2.0)
    assert attempt_once(model, precision, optimizers, 0, poison=True).skipped
    with pytest.raises(ScaleCollapseError, match=r"fell to 0.5, below 1"):
        attempt_once(model, precision, optimizers, 1, poison=True)


@pytest.mark.parametrize("kind", KINDS)
def test_an_accumulation_window_is_one_update(kind: str) -> None:
    model, precision = network(), Precision(kind, "cpu")
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = weights(model)
    for attempt in range(4):
        images, target = batch(attempt)
        with precision.autocast():
            logits = model(images)
        precision.backward(nn.functional.cross_entropy(logits.float(), target) / 4)
    result = precision.step(optimizer, max_norm=1e-3)
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, weights(model), strict=True)]).norm()
    assert moved.item() == pytest.approx(1e-3, rel=1e-2)
    assert result.grad_norm.item() > 1e-3
    assert result.scale.item() == (65536.0 if kind == "fp16" else 1.0)
    assert precision.attempted == 1


def test_the_decorator_enters_a_fresh_autocast_at_every_call() -> None:
    precision = Precision("bf16", "cpu")

    @precision.autocast()
    def forward(x: Tensor, depth: int) -> Tensor:
        y = x @ x
        assert y.dtype == torch.bfloat16
        return forward(x, depth - 1) if depth else y

    assert forward(torch.ones(2, 2), 3).dtype == torch.bfloat16
    assert not torch.is_autocast_enabled("cpu")
    assert Precision("fp32", "cpu").autocast()(lambda x: x @ x)(torch.ones(2, 2)).dtype == torch.float32


def test_an_infinite_max_norm_only_measures() -> None:
    model, precision = network(), Precision("fp32", "cpu")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    precision.backward(model(batch(0)[0]).square().sum())
    grads = [p.grad.clone() for p in model.parameters()]
    norm = precision.step(optimizer, max_norm=math.inf).grad_norm
    assert same(grads, [p.grad for p in model.parameters()])
    torch.testing.assert_close(norm, torch.cat([g.flatten() for g in grads]).norm())


def half_loss() -> None:
    Precision("bf16", "cpu").backward(torch.ones((), dtype=torch.bfloat16, requires_grad=True))


def half_model() -> None:
    model = network().half()
    Precision("fp16", "cpu").step(torch.optim.SGD(model.parameters(), lr=0.1))


def step_before_backward() -> None:
    model = network()
    model(batch(0)[0]).sum().backward()
    Precision("fp16", "cpu").step(torch.optim.SGD(model.parameters(), lr=0.1))


def scale_twice() -> None:
    other = torch.amp.GradScaler("cpu")
    Precision("fp16", "cpu").backward(other.scale(network()(batch(0)[0]).sum()))


def save_between() -> None:
    precision = Precision("fp16", "cpu")
    precision.backward(network()(batch(0)[0]).sum())
    precision.state_dict()


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda: Precision("half", "cpu"), ValueError, "precision 'half' is not known"),
        (lambda: Precision("tf32", "cpu"), ValueError, "tf32.*use fp32"),
        (lambda: Precision("fp16", "meta"), ValueError, "device 'meta'"),
        (lambda: Precision("fp16", "cpu", init_scale=0.5), ValueError, "init_scale"),
        (lambda: Precision("fp32", "cpu").backward(torch.ones(2, requires_grad=True)), ValueError, "be a scalar"),
        (lambda: Precision("fp32", "cpu").step(), TypeError, "at least one optimizer"),
        (lambda: Precision("fp32", "cpu").load_state_dict({"kind": "fp16"}), ValueError, "be fp16 as in the saved"),
        (half_loss, TypeError, "loss must be float32"),
        (half_model, TypeError, "parameters must be float32"),
        (step_before_backward, RuntimeError, "one scaler only"),
        (save_between, RuntimeError, "between backward and step"),
        (scale_twice, ValueError, "loss must be scaled once"),
    ],
)
def test_mistakes_are_told_in_one_line(mistake: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        mistake()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan])
def test_a_max_norm_that_would_stop_training_is_refused(max_norm: float) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(batch(0)[0]).sum().backward()
    with pytest.raises(ValueError, match="max_norm must be above 0"):
        Precision("fp32", "cpu").step(optimizer, max_norm=max_norm)


def test_a_loss_weighted_by_a_tensor_is_not_taken_for_a_scaled_one() -> None:
    other = torch.amp.GradScaler("cpu")
    other.scale(torch.ones(()))
    precision = Precision("fp16", "cpu")
    for weight in (torch.tensor(65536.0) * 1e-9, torch.tensor(0.5)):
        model = network()
        precision.backward(model(batch(0)[0]).sum() * weight)
        assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())
