"""Rows by depth, and the rates and decays that follow from them."""

from __future__ import annotations

from collections.abc import Callable

import monai.networks.nets as monai_nets
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import nn

from hone.transfer import FreezePlan, apply_freeze, find_head, group_rows, layer_rows, parameter_groups, replace_head

tv = torchvision.models

#: name -> (model, its rows)
ROWS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "resnet18": (tv.resnet18, ["conv1", *(f"layer{n}.{m}" for n in range(1, 5) for m in range(2)), "fc"]),
    "mobilenet_v3_small": (
        tv.mobilenet_v3_small,
        [*(f"features.{n}" for n in range(13)), "classifier.0", "classifier.3"],
    ),
    "test_vit": (
        lambda: timm.create_model("test_vit", depth=4),
        ["patch_embed", *(f"blocks.{n}" for n in range(4)), "head"],
    ),
    "test_convnext": (
        lambda: timm.create_model("test_convnext", depths=(1, 2, 1, 1)),
        [
            *("stem", "stages.0.blocks.0", "stages.1.downsample", "stages.1.blocks.0", "stages.1.blocks.1"),
            *("stages.2.downsample", "stages.2.blocks.0", "stages.3.downsample", "stages.3.blocks.0", "head.fc"),
        ],
    ),
    "regnety_002, stages without a list": (
        lambda: timm.create_model("regnety_002"),
        ["stem", "s1", "s2", *(f"s3.b{n}" for n in range(1, 5)), *(f"s4.b{n}" for n in range(1, 8)), "head.fc"],
    ),
    "smp Unet": (
        lambda: smp.Unet("resnet18", encoder_weights=None, encoder_depth=3, decoder_channels=(16, 8, 4)),
        [
            *("encoder.conv1", "encoder.layer1.0", "encoder.layer1.1", "encoder.layer2.0", "encoder.layer2.1"),
            *("encoder.layer3.0", "encoder.layer3.1", "encoder.layer4.0", "encoder.layer4.1"),
            *(f"decoder.blocks.{n}" for n in range(3)),
            "segmentation_head.0",
        ],
    ),
    "MONAI UNet": (
        lambda: monai_nets.UNet(2, 1, 2, (4, 8, 16), (2, 2), num_res_units=1),
        ["model.0", *(f"model.1.submodule.{n}" for n in ("0", "1", "2.0", "2.1")), "model.2.1.conv.unit0.conv"],
    ),
    "plain": (lambda: nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3)), ["0", "2"]),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    build, expected = ROWS[name]
    model = build()
    rows = layer_rows(model)
    assert [row.name for row in rows] == expected
    assert [row.depth for row in rows] == list(range(len(rows)))
    inside = [parameter for row in rows for parameter in row.parameters]
    assert sorted(inside) == sorted(key for key, _ in model.named_parameters())
    assert sum(row.size for row in rows) == sum(parameter.numel() for parameter in model.parameters())
    assert [row.is_head for row in rows] == [False] * (len(rows) - 1) + [True]


ORDERED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet18": (tv.resnet18, (1, 3, 32, 32)),
    "densenet": (lambda: tv.DenseNet(8, (2, 2), 16), (1, 3, 32, 32)),
    "mobilenet_v3_small": (tv.mobilenet_v3_small, (1, 3, 32, 32)),
    "torchvision vit": (lambda: tv.VisionTransformer(32, 8, 3, 2, 16, 32), (1, 3, 32, 32)),
    "test_vit": (lambda: timm.create_model("test_vit", depth=4), (1, 3, 160, 160)),
    "test_convnext": (lambda: timm.create_model("test_convnext"), (1, 3, 32, 32)),
    "test_nfnet": (lambda: timm.create_model("test_nfnet"), (1, 3, 32, 32)),
    "test_maxvit": (lambda: timm.create_model("test_maxvit"), (1, 3, 160, 160)),
    "regnety_002": (lambda: timm.create_model("regnety_002"), (1, 3, 32, 32)),
    "smp Unet": (lambda: smp.Unet("timm-mobilenetv3_small_minimal_100", encoder_weights=None), (1, 3, 32, 32)),
    "MONAI UNet": (lambda: monai_nets.UNet(2, 1, 2, (4, 8, 16), (2, 2), num_res_units=1), (1, 1, 16, 16)),
}


@pytest.mark.parametrize("name", ORDERED)
@pytest.mark.filterwarnings("ignore")
def test_depth_is_the_order_of_the_forward(name: str) -> None:
    """Hooks on every layer say when it is first used; rows must be used in their order."""
    build, shape = ORDERED[name]
    model = build().eval()
    used: list[str] = []
    for place, module in model.named_modules():
        if any(parameter.ndim > 1 for parameter in module.parameters(recurse=False)):
            module.register_forward_pre_hook(lambda module, inputs, place=place: used.append(place))
    with torch.no_grad():
        model(torch.zeros(shape))
    row_of = {parameter.rpartition(".")[0]: row.depth for row in layer_rows(model) for parameter in row.parameters}
    depths = list(dict.fromkeys(row_of[place] for place in used))
    assert depths == sorted(depths)


def test_rows_follow_a_new_head() -> None:
    model = tv.resnet18()
    assert layer_rows(model)[-1].size == 513_000
    assert layer_rows(replace_head(model, 5))[-1].size == 513 * 5
    find_head(model, head="layer4.1.conv2")
    assert layer_rows(model)[-1].name == "layer4.1.conv2"


def by_parameter(model: nn.Module, groups: list[dict[str, object]], key: str) -> dict[str, float]:
    of = {id(parameter): group[key] for group in groups for parameter in group["params"]}  # type: ignore[attr-defined]
    return {name: of[id(parameter)] for name, parameter in model.named_parameters()}  # type: ignore[misc]


def test_layer_decay_of_a_transformer_as_timm_computes_it() -> None:
    """timm puts the last norm with the head, we with the last block; all else is equal."""
    model = timm.create_model("test_vit", depth=6)
    ours = by_parameter(model, parameter_groups(model, lr=1e-3, weight_decay=0.05, layer_decay=0.75), "lr")
    theirs = param_groups_layer_decay(model, weight_decay=0.05, layer_decay=0.75, no_weight_decay_list=())
    scale = by_parameter(model, theirs, "lr_scale")
    for name in scale:
        if not name.startswith("norm."):
            assert ours[name] == pytest.approx(1e-3 * scale[name]), name


def test_weight_decay_as_timm_gives_it() -> None:
    model = timm.create_model("test_vit")
    ours = by_parameter(model, parameter_groups(model, lr=1e-3, weight_decay=0.05), "weight_decay")
    theirs = param_groups_weight_decay(model, 0.05, no_weight_decay_list=model.no_weight_decay())
    assert ours == by_parameter(model, theirs, "weight_decay")


@pytest.mark.parametrize(
    "build",
    [tv.resnet18, lambda: timm.create_model("test_convnext"), lambda: smp.Unet("resnet18", encoder_weights=None)],
)
def test_every_parameter_is_in_one_group_and_rates_rise_to_the_head(build: Callable[[], nn.Module]) -> None:
    model = build()
    apply_freeze(model, FreezePlan("head"))
    groups = parameter_groups(model, lr=0.1, weight_decay=0.01, layer_decay=0.5, head_multiplier=3.0)
    inside = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(inside) == sorted(id(parameter) for parameter in model.parameters())
    names = [group["name"] for group in groups]
    assert len(set(names)) == len(names)
    rows = group_rows(model, groups)
    count = len(rows) - 1
    assert [row.lr for row in rows] == pytest.approx([0.1 * 0.5 ** (count - n) for n in range(count)] + [0.3])
    assert [row.trains for row in rows][:-1] == [0] * count and rows[-1].trains == rows[-1].size
    torch.optim.AdamW(groups)  # an optimizer takes them as they are
    for group in groups:
        vectors = [parameter.ndim <= 1 for parameter in group["params"]]
        assert group["weight_decay"] == (0.0 if all(vectors) else 0.01)


def test_without_layer_decay_there_are_few_groups() -> None:
    groups = parameter_groups(tv.mobilenet_v2(), lr=0.1)
    assert [group["name"] for group in groups] == ["trunk", "trunk no decay", "head", "head no decay"]


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.0},
        {"lr": 1e-3, "weight_decay": -1.0},
        {"lr": 1e-3, "layer_decay": 0.0},
        {"lr": 1e-3, "layer_decay": 1.1},
        {"lr": 1e-3, "head_multiplier": 0.0},
        {"lr": float("nan")},
    ],
)
def test_rates_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be a finite number"):
        parameter_groups(nn.Linear(2, 2), **options)  # type: ignore[arg-type]
