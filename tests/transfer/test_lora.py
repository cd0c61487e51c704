"""Adapters: nothing changes at the start, only they train, and the merged model is the plain library's."""

from __future__ import annotations

from collections.abc import Callable

import monai.networks.nets as monai_nets
import pytest
import timm
import torch
import torchvision
from torch import nn

from hone.transfer import FreezePlan, apply_freeze, layer_rows, parameter_groups, replace_head
from hone.transfer.lora import add_adapter, add_lora, merge_adapters, merged_state_dict

pytest.importorskip("peft")

MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "test_vit": (lambda: timm.create_model("test_vit", num_classes=3), (2, 3, 160, 160)),
    "test_convnext": (lambda: timm.create_model("test_convnext", num_classes=3), (2, 3, 32, 32)),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(num_classes=3), (2, 3, 32, 32)),
    "MONAI BasicUNet, 3D": (lambda: monai_nets.BasicUNet(3, 1, 3, (4,) * 6, norm="batch"), (2, 1, 16, 16, 16)),
}
VARIANTS = {"plain": {}, "dora": {"use_dora": True}, "rslora": {"use_rslora": True}}
CASES = [*((name, "plain") for name in MODELS), ("test_vit", "dora"), ("test_vit", "rslora")]


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_trained_adapters_merge_into_the_plain_model(name: str, variant: str) -> None:
    build, shape = MODELS[name]
    torch.manual_seed(0)
    model, x = build().eval(), torch.randn(shape)
    plain = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    rows = [row.name for row in layer_rows(model)]
    with torch.no_grad():
        before = model(x)
        torch.testing.assert_close(add_lora(model, rank=2, **VARIANTS[variant])(x), before)
    assert [row.name for row in layer_rows(model)] == rows
    names = apply_freeze(model.train(), FreezePlan("head", "*.lora_*"))
    assert all("lora_" in key or key.startswith(rows[-1]) for key in names) and len(names) > 2
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=1e-2))
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    model.eval()
    state = merged_state_dict(model)
    assert list(state) == list(plain)
    fresh = build().eval()
    fresh.load_state_dict(state, strict=True)
    with torch.no_grad():
        expected, got = model(x), fresh(x)
        assert not torch.allclose(expected, before)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(merge_adapters(model)(x), expected, rtol=1e-4, atol=1e-4)
    changed = {key for key in plain if not torch.equal(plain[key], state[key])}
    assert not any("running_" in key or "norm" in key for key in changed)


def test_other_adapters_of_peft() -> None:
    from peft import LoKrConfig

    model = torchvision.models.resnet18(num_classes=3).eval()
    names = list(model.state_dict())
    add_adapter(model, LoKrConfig(r=2, target_modules=["conv1", "conv2"], init_weights=False))
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(merge_adapters(model)(x), model(x))
    assert list(model.state_dict()) == names


def test_head_and_depthwise_layers_are_left_out() -> None:
    model = add_lora(replace_head(torchvision.models.mobilenet_v2(), 4), rank=1)
    adapted = [name for name, module in model.named_modules() if hasattr(module, "base_layer")]
    assert "classifier.1" not in adapted and len(adapted) == 35
    assert all(model.get_submodule(name).base_layer.groups == 1 for name in adapted)


def test_what_lora_refuses() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="rank must be a whole number at least 1, got 0"):
        add_lora(model, 0)
    with pytest.raises(ValueError, match="dropout must be a finite number"):
        add_lora(model, 2, dropout=1.0)
    with pytest.raises(ValueError, match="'blocks' matches no parameter"):
        add_lora(model, 2, layers=["blocks"])
    assert not any(hasattr(module, "base_layer") for module in model.modules())
    assert merge_adapters(model) is model
