"""Frozen means frozen: parameters and buffers bit-equal (atol=0) after training, over many architectures and stages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hone.transfer import FreezePlan, apply_freeze, check_plan, layer_rows, parameter_groups, replace_head
from hone.transfer.heads import find_head

from .architectures import ARCHITECTURES, CLASSES, Simple, built

PLANS = {
    "head": FreezePlan("head"),
    "gradual": FreezePlan("head", stages={2: "last:1", 4: "all"}),
    "surgical": FreezePlan("all", stages={2: "depth:0"}),
    "norms": FreezePlan("head", "norm", stages={3: "head"}),
}


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}


def train_step(model: nn.Module, x: Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    (model(x) - 1.0).square().mean().backward()
    optimizer.step()


def frozen_buffers(model: nn.Module, training: frozenset[str]) -> set[str]:
    """Buffers of rows in which nothing trains, found from names alone (another way than the code under test)."""
    trunk = [row for row in layer_rows(model) if not set(row.parameters) & training]
    inside = {name.rpartition(".")[0] for row in trunk for name in row.parameters}
    return {name for name, _ in model.named_buffers() if name.rpartition(".")[0] in inside}


def run_plan(model: nn.Module, x: Tensor, plan: FreezePlan, apply: Callable[..., frozenset[str]]) -> list[str]:
    """Train six updates; the names of frozen tensors that moved, stage by stage."""
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=1e-2, weight_decay=0.1))
    moved = []
    for update in range(6):
        model.train()
        training = apply(model, plan, update)
        before = tensors(model)
        train_step(model, x, optimizer)
        after = tensors(model)
        still = {name for name, _ in model.named_parameters()} - training | frozen_buffers(model, training)
        moved += [f"{update}: {name}" for name in still if not torch.equal(before[name], after[name])]
        if not any(not torch.equal(before[name], after[name]) for name in training):
            moved.append(f"{update}: nothing trained")
    return moved


#: The larger networks run the gradual plan only; two have no normalisation layer with weights.
_LARGE = ("resnet18", "smp_unet", "mobilenet_v2", "mobilenet_v3_small")
CASES = [
    (name, plan)
    for name in ARCHITECTURES
    for plan in PLANS
    if (name not in _LARGE or plan == "gradual") and (plan != "norms" or name not in ("test_nfnet", "simple"))
]


@pytest.mark.parametrize(("name", "plan"), CASES)
def test_frozen_parameters_and_buffers_stay_bit_equal(name: str, plan: str) -> None:
    model, x = built(name)
    assert run_plan(model, x, PLANS[plan], apply_freeze) == []


def without_modes(model: nn.Module, plan: FreezePlan, update: int) -> frozenset[str]:
    """The common mistake: requires_grad alone."""
    names = apply_freeze(model, plan, update)
    model.train()
    return names


@pytest.mark.parametrize("name", ["resnet18", "test_efficientnet", "monai_unet"])
def test_the_law_fails_where_batch_norms_drift(name: str) -> None:
    model, x = built(name)
    moved = run_plan(model, x, PLANS["head"], without_modes)
    assert any("running_var" in line for line in moved)


@pytest.mark.parametrize("name", ["simple", "test_resnet", "test_vit", "test_convnext", "monai_unet"])
def test_a_frozen_trunk_gives_the_same_features_every_time(name: str) -> None:
    """No dropout and no stochastic depth in what is frozen, though the model trains."""
    model, x = built(name)
    head = find_head(model)[-1]
    for module in model.modules():
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.5
    if hasattr(model, "head_drop"):
        model.head_drop.p = 0.0  # the dropout before the head goes with the head
    seen: list[Tensor] = []
    head.layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))

    def features_vary() -> bool:
        seen.clear()
        for _ in range(4):
            model(x)
        return any(not torch.equal(seen[0], other) for other in seen[1:])

    model.train()
    assert features_vary()
    apply_freeze(model, FreezePlan("head"))
    model.drop_rate = 0.0  # type: ignore[assignment]  # timm's ResNet drops before its head by itself
    assert not features_vary()


def test_what_has_no_parameters_follows_the_layer_after_it() -> None:
    model = Simple().train()
    apply_freeze(model, FreezePlan("head"))
    assert [model.training, model.norm.training, model.drop.training, model.head_drop.training] == [
        True,
        False,
        False,
        True,
    ]
    model.train()
    apply_freeze(model, FreezePlan("last:1"))
    assert [model.norm.training, model.head_drop.training] == [True, True]


def test_all_freezes_nothing_and_frozen_statistics_freeze_only_those() -> None:
    model, x = built("resnet18")
    model.train()
    assert len(apply_freeze(model, FreezePlan("all"))) == len(list(model.parameters()))
    assert all(module.training for module in model.modules())
    plan = FreezePlan("all", norm="frozen")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = tensors(model)
    apply_freeze(model, plan)
    train_step(model, x, optimizer)
    after = tensors(model)
    assert all(torch.equal(before[name], after[name]) for name, _ in model.named_buffers())
    assert not torch.equal(before["bn1.weight"], after["bn1.weight"])


def test_a_stage_wakes_what_the_stage_before_put_to_rest() -> None:
    """Also where nobody calls model.train() in between."""
    model = Simple().train()
    plan = FreezePlan("head", stages={1: "all"})
    apply_freeze(model, plan, 0)
    apply_freeze(model, plan, 1)
    assert all(module.training for module in model.modules())


def test_a_model_in_eval_mode_stays_in_eval_mode() -> None:
    model = Simple().eval()
    apply_freeze(model, FreezePlan("all"))
    assert not any(module.training for module in model.modules())


def test_optimizer_keeps_no_state_of_what_never_trained() -> None:
    model, x = built("test_resnet")
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=1e-3, weight_decay=0.1))
    model.train()
    names = apply_freeze(model, FreezePlan("last:1"))
    train_step(model, x, optimizer)
    parameters = dict(model.named_parameters())
    assert {id(p) for p in optimizer.state} == {id(parameters[name]) for name in names}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(parameters)


def test_gradients_left_from_before_do_not_move_what_is_frozen_now() -> None:
    model, x = built("simple")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train_step(model.train(), x, optimizer)
    model(x).sum().backward()
    apply_freeze(model, FreezePlan("head"))
    before = tensors(model)
    optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.named_parameters() if "fc" not in name)


@pytest.mark.parametrize("stop", range(6))
def test_resumed_at_any_update_equals_uninterrupted(stop: int) -> None:
    """A new model and optimizer, the states loaded, the plan asked at the update: no other memory."""

    def run(model: nn.Module, optimizer: torch.optim.Optimizer, updates: range) -> None:
        for update in updates:
            torch.manual_seed(update)
            model.train()
            apply_freeze(model, PLANS["gradual"], update)
            train_step(model, x, optimizer)

    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = built("test_resnet")[0]
        return model, torch.optim.AdamW(parameter_groups(model, lr=1e-2, weight_decay=0.1))

    x = built("test_resnet")[1]
    whole, optimizer = fresh()
    run(whole, optimizer, range(6))
    first, optimizer = fresh()
    run(first, optimizer, range(stop))
    second, other = fresh()
    second.load_state_dict(first.state_dict())
    other.load_state_dict(optimizer.state_dict())
    run(second, other, range(stop, 6))
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("pattern", ["nothing.*", "last:99", "depth:40", "layer44", "!head"])
def test_a_pattern_that_matches_nothing_leaves_the_model_as_it_was(pattern: str) -> None:
    model, _ = built("resnet18")
    model.train()
    apply_freeze(model, FreezePlan("layer4"))
    before = [(p.requires_grad, m.training) for m in model.modules() for p in m.parameters(recurse=False)]
    with pytest.raises(ValueError, match=r"pattern"):
        apply_freeze(model, FreezePlan(pattern))
    assert before == [(p.requires_grad, m.training) for m in model.modules() for p in m.parameters(recurse=False)]
    with pytest.raises(ValueError, match=r"pattern"):
        check_plan(model, FreezePlan("head", stages={5: pattern}))


def test_wrapped_and_shared_parameters() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, CLASSES))
    model[1].weight = model[0].weight
    assert apply_freeze(nn.DataParallel(model), FreezePlan("head")) == {"2.weight", "2.bias"}
    assert not model[1].weight.requires_grad
    replace_head(model, 5)
    assert apply_freeze(model, FreezePlan("1")) == {"1.bias"}
