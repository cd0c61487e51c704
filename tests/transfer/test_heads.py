"""Heads: found where the output comes from, replaced alone, initialised as the library does.

One model of every family: ``python benchmarks/transfer.py heads``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import monai.networks.nets as monai_nets
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from torch import Tensor, nn

from hone.transfer import find_head, replace_head
from hone.transfer.trace import trace_head

Build = Callable[[], nn.Module]
tv = torchvision.models


class TwoHeads(nn.Module):
    """An output from two layers, reshaped; no library knows it."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Linear(8, 4)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        self.far = nn.Linear(8, 4)
        self.unused = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.body(x).mean((2, 3))
        return {"out": (self.near(features) + self.far(features.tanh())).softmax(-1), "features": features}


class Flat(nn.Module):
    """A network for images of one size only."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 26 * 26, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def _timm(name: str, **options: object) -> Build:
    return lambda: timm.create_model(name, **options)


#: name -> (model, input shape, the names of its heads)
CASES: dict[str, tuple[Build, tuple[int, ...], list[str]]] = {
    "resnet18": (tv.resnet18, (2, 3, 32, 32), ["fc"]),
    "squeezenet1_1": (tv.squeezenet1_1, (2, 3, 32, 32), ["classifier.1"]),
    "mobilenet_v2": (tv.mobilenet_v2, (2, 3, 32, 32), ["classifier.1"]),
    "googlenet": (lambda: tv.googlenet(init_weights=False), (2, 3, 64, 64), ["fc", "aux1.fc2", "aux2.fc2"]),
    "lraspp": (
        lambda: tv.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None),
        (2, 3, 32, 32),
        ["classifier.high_classifier", "classifier.low_classifier"],
    ),
    "deeplabv3 with an auxiliary head": (
        lambda: tv.segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, aux_loss=True),
        (2, 3, 32, 32),
        ["classifier.4", "aux_classifier.4"],
    ),
    "test_vit": (_timm("test_vit"), (2, 3, 160, 160), ["head"]),
    "test_resnet": (_timm("test_resnet"), (2, 3, 32, 32), ["fc"]),
    "test_convnext": (_timm("test_convnext"), (2, 3, 32, 32), ["head.fc"]),
    "test_efficientnet": (_timm("test_efficientnet"), (2, 3, 32, 32), ["classifier"]),
    "test_nfnet": (_timm("test_nfnet"), (2, 3, 32, 32), ["head.fc"]),
    "test_byobnet": (_timm("test_byobnet"), (2, 3, 32, 32), ["head.fc"]),
    "test_mambaout": (_timm("test_mambaout"), (2, 3, 32, 32), ["head.fc"]),
    "distilled": (_timm("deit_tiny_distilled_patch16_224", depth=1), (2, 3, 224, 224), ["head", "head_dist"]),
    "smp Unet": (
        lambda: smp.Unet("timm-mobilenetv3_small_minimal_100", encoder_weights=None),
        (2, 3, 32, 32),
        ["segmentation_head.0"],
    ),
    "MONAI UNet": (
        lambda: monai_nets.UNet(3, 1, 2, (4, 8), (2,), num_res_units=2, norm="BATCH"),
        (2, 1, 8, 8, 8),
        ["model.2.1.conv.unit0.conv", "model.2.0.conv", "model.2.0.adn.N"],
    ),
    "MONAI SegResNet": (lambda: monai_nets.SegResNet(3, 8, 1, 2), (1, 1, 16, 16, 16), ["conv_final.2.conv"]),
    "MONAI BasicUNet": (lambda: monai_nets.BasicUNet(2, 1, 2, (4,) * 6), (2, 1, 32, 32), ["final_conv"]),
    "two heads": (TwoHeads, (2, 3, 16, 16), ["near", "far"]),
    "one size only": (Flat, (2, 1, 28, 28), ["layers.2"]),
    "plain": (lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), (2, 6), ["2"]),
}
ALSO_IN_TRAINING = {"googlenet", "deeplabv3 with an auxiliary head"}


def built(name: str) -> tuple[nn.Module, Tensor, list[str]]:
    build, shape, names = CASES[name]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build().eval(), torch.randn(shape), names


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_found_and_replaced_alone(name: str) -> None:
    model, x, names = built(name)
    modes = [module.training for module in model.modules()]
    assert {head.name for head in find_head(model)} == set(names)
    assert modes == [module.training for module in model.modules()]
    assert not any(module._forward_hooks for module in model.modules())
    before = {key: (tensor, tensor.clone()) for key, tensor in model.state_dict(keep_vars=True).items()}
    assert replace_head(model, 7, seed=0) is model
    after = model.state_dict(keep_vars=True)
    assert list(after) == list(before)
    for key, (tensor, value) in before.items():
        if not any(key.startswith(f"{head}.") for head in names):
            assert after[key] is tensor and torch.equal(tensor, value), key
        elif tensor.ndim:
            assert after[key].shape != tensor.shape, key
    with torch.no_grad():
        output = model(x)
    output = next(iter(output.values())) if isinstance(output, dict) else output
    assert output.shape[:2] == (len(x), 7)
    assert {head.width for head in find_head(model)} == {7}


@pytest.mark.parametrize("name", sorted(set(CASES) - ALSO_IN_TRAINING))
@pytest.mark.filterwarnings("ignore")
def test_what_a_library_declares_is_where_the_output_comes_from(name: str) -> None:
    """Two ways to the same answer: the declared names, and the walk back from the output."""
    model, x, names = built(name)
    assert {found for found, _, _ in trace_head(model, x, [])} == set(names)


def test_dtype_bias_hooks_and_options_stay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 3, padding=2, stride=2, bias=False)).to(torch.float64)
    calls: list[int] = []
    model[1].register_forward_hook(lambda *_: calls.append(1))
    model.to(memory_format=torch.channels_last)
    replace_head(model, 9)
    layer = model[1]
    assert layer.bias is None and layer.weight.dtype == torch.float64 and layer.padding == (2, 2)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last) and not layer.weight.is_contiguous()
    assert model(torch.zeros(1, 3, 5, 5, dtype=torch.float64)).shape == (1, 9, 4, 4) and calls


def test_seed_gives_the_same_weights_and_leaves_the_generator() -> None:
    first, second, third = (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)) for _ in range(3))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    replace_head(first, 3, seed=1)
    assert torch.equal(torch.rand(3), expected)
    replace_head(second, 3, seed=1)
    replace_head(third, 3, seed=2)
    assert torch.equal(first[1].weight, second[1].weight) and not torch.equal(first[1].weight, third[1].weight)


def test_a_frozen_half_precision_meta_or_wrapped_model() -> None:
    model = tv.resnet18().half().requires_grad_(False)
    replace_head(model, 3)
    assert model.fc.weight.dtype == torch.float16 and model.fc.weight.requires_grad
    with torch.device("meta"):
        empty = tv.resnet18()
    assert replace_head(empty, 3).fc.weight.is_meta
    wrapped = nn.DataParallel(tv.mobilenet_v2())
    assert replace_head(wrapped, 3) is wrapped and wrapped.module.classifier[1].out_features == 3


def test_timms_own_record_of_its_classes_follows() -> None:
    model = replace_head(timm.create_model("test_convnext"), 6)
    assert model.num_classes == 6 and model.get_classifier().out_features == 6


def test_what_was_tried_in_vain_is_not_tried_again_without_a_new_example() -> None:
    class Odd(nn.Module):
        """For images of 20 pixels only."""

        def __init__(self) -> None:
            super().__init__()
            self.calls = 0
            self.layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 18 * 18, 4))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.layers(x)

    model = Odd()
    with pytest.raises(ValueError, match="was not found"):
        find_head(model)
    calls = model.calls
    with pytest.raises(ValueError, match="was not found"):
        find_head(model)
    assert model.calls == calls
    assert find_head(model, example=torch.zeros(1, 1, 20, 20))[0].name == "layers.2"
    assert find_head(model)[0].name == "layers.2"


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_a_timm_model_without_a_head_gets_one(name: str) -> None:
    model = timm.create_model(name, num_classes=0).double().eval()
    before = model.state_dict(keep_vars=True)
    replace_head(model, 6, seed=1)
    after = model.state_dict(keep_vars=True)
    assert all(after[key] is tensor for key, tensor in before.items()) and len(after) == len(before) + 2
    assert model(torch.zeros(1, *model.pretrained_cfg["input_size"], dtype=torch.float64)).shape == (1, 6)


def test_a_named_head_is_remembered() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    replace_head(model, 7, head="0")
    assert model[0].out_features == 7
    assert [head.name for head in find_head(model)] == ["0"]


#: Constructors of torchvision and others that fill their heads in a way of their own.
INITIALISED: dict[str, Callable[[int], nn.Module]] = {
    "mobilenet_v2": lambda n: tv.mobilenet_v2(num_classes=n),
    "mobilenet_v3": lambda n: tv.mobilenet_v3_small(num_classes=n),
    "densenet": lambda n: tv.DenseNet(8, (2, 2), 16, num_classes=n),
    "squeezenet": lambda n: tv.squeezenet1_1(num_classes=n),
    "mnasnet": lambda n: tv.mnasnet0_5(num_classes=n),
    "efficientnet": lambda n: tv.efficientnet_b0(num_classes=n),
    "regnet": lambda n: tv.regnet_y_400mf(num_classes=n),
    "shufflenet": lambda n: tv.shufflenet_v2_x0_5(num_classes=n),
    "resnet": lambda n: tv.resnet18(num_classes=n),
    "vit": lambda n: tv.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=n),
    "swin": lambda n: tv.SwinTransformer([4, 4], 48, [2], [2], [4, 4], num_classes=n),
    "maxvit": lambda n: tv.MaxVit((64, 64), 32, 2, [64], [2], 16, 0.0, num_classes=n),
    "video": lambda n: tv.video.mc3_18(num_classes=n),
    "smp": lambda n: smp.Unet("resnet18", encoder_weights=None, classes=n),
    "monai densenet": lambda n: monai_nets.DenseNet(3, 1, n, 8, 8, (2, 2)),
    "timm test_resnet": lambda n: timm.create_model("test_resnet", num_classes=n),
    "timm test_efficientnet": lambda n: reset(n),
}


def reset(num_classes: int) -> nn.Module:
    model = timm.create_model("test_efficientnet")
    model.reset_classifier(num_classes)
    return model


def spread(tensor: Tensor | None) -> tuple[float, float, float]:
    """Standard deviation, largest value over it (uniform or normal?), and how far from zero."""
    if tensor is None or not tensor.any():
        return 0.0, 0.0, 0.0
    scale = float(tensor.double().pow(2).mean().sqrt())
    kurtosis = float(tensor.double().pow(4).mean()) / scale**4
    return scale, kurtosis, float(tensor.mean()) / scale


@pytest.mark.parametrize("name", INITIALISED)
@pytest.mark.filterwarnings("ignore")
def test_initialised_as_the_library_initialises_it(name: str) -> None:
    torch.manual_seed(0)
    build = INITIALISED[name]
    expected, model = build(96), replace_head(build(10), 96, seed=3)
    for ours, theirs in zip(find_head(model), find_head(expected), strict=True):
        assert ours.name == theirs.name
        for attribute in ("weight", "bias"):
            got, wanted = (spread(getattr(head.layer, attribute, None)) for head in (ours, theirs))
            assert got[0] == pytest.approx(wanted[0], rel=0.25), attribute
            assert got[1] == pytest.approx(wanted[1], rel=0.25), attribute


BAD_CLASSES = [0, -1, 2.0, True, "5"]


@pytest.mark.parametrize("num_classes", BAD_CLASSES)
def test_a_bad_number_of_classes_leaves_the_model(num_classes: object) -> None:
    model = tv.squeezenet1_1()
    before = model.classifier[1].weight
    with pytest.raises((ValueError, TypeError), match="num_classes must be a whole number"):
        replace_head(model, num_classes)  # type: ignore[arg-type]
    assert model.classifier[1].weight is before


def test_a_head_that_cant_be_found_says_what_was_tried_and_what_to_do() -> None:
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return self.conv(x) * mask

    with pytest.raises(
        ValueError, match=r"output layer of Strange was not found \(tried: .*TypeError.* name it with head="
    ):
        find_head(Strange())
    assert replace_head(Strange(), 2, head="conv").conv.out_channels == 2
    for headless in (timm.create_model("test_resnet", num_classes=0), tv.resnet18()):
        headless.fc = nn.Identity()
        with pytest.raises(ValueError, match="output layer of ResNet is not there"):
            find_head(headless)
    with pytest.raises(ValueError, match="output layer of ReLU was not found"):
        find_head(nn.ReLU())
    residual = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False
    )
    with pytest.raises(ValueError, match="output layer of TransformerEncoder was not found"):
        find_head(residual, example=torch.zeros(1, 3, 8))
    with pytest.raises(ValueError, match=r"head 'cnv' is not known; did you mean conv\?"):
        find_head(Strange(), head="cnv")
    with pytest.raises(ValueError, match="head must name a linear or convolution layer, got 'bn1"):
        replace_head(tv.resnet18(), 2, head="bn1")
    normed = nn.Sequential(nn.Linear(4, 4), nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)))
    with pytest.raises(ValueError, match="head must hold its weight as a plain parameter"):
        replace_head(normed, 3)
    grouped = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2))
    with pytest.raises(ValueError, match="grouped"):
        replace_head(grouped, 6)
    assert grouped[0].out_channels == 4
