"""The same architecture under another library's names: the copied network computes the same, or nothing is copied."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from timm.models import vision_transformer
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig

from hone.transfer import copy_weights, read_weights, replace_head
from hone.transfer.matching import match_by_name, match_by_order

Build = Callable[[], nn.Module]


def torchvision_vit() -> nn.Module:
    return torchvision.models.VisionTransformer(
        32, 8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=64, num_classes=9
    )


def timm_vit() -> nn.Module:
    norm = partial(nn.LayerNorm, eps=1e-6)
    return vision_transformer.VisionTransformer(
        32, 8, depth=3, num_heads=2, embed_dim=16, num_classes=9, norm_layer=norm
    )


def torchvision_swin() -> nn.Module:
    return torchvision.models.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=9)


def timm_swin() -> nn.Module:
    return timm.models.swin_transformer.SwinTransformer(
        32, 4, embed_dim=16, depths=(2, 2), num_heads=(2, 4), window_size=4, num_classes=9
    )


def torchvision_convnext() -> nn.Module:
    stages = [CNBlockConfig(8, 16, 2), CNBlockConfig(16, 32, 2), CNBlockConfig(32, 64, 2), CNBlockConfig(64, None, 1)]
    return torchvision.models.ConvNeXt(stages, num_classes=9)


def timm_convnext() -> nn.Module:
    return timm.models.convnext.ConvNeXt(depths=(2, 2, 2, 1), dims=(8, 16, 32, 64), num_classes=9)


#: name -> (source of torchvision, target of timm, input size)
PAIRS: dict[str, tuple[Build, Build, int]] = {
    "mobilenet_v2": (torchvision.models.mobilenet_v2, lambda: timm.create_model("mobilenetv2_100"), 32),
    "mnasnet0_5": (torchvision.models.mnasnet0_5, lambda: timm.create_model("mnasnet_050"), 32),
    "efficientnet_b0": (torchvision.models.efficientnet_b0, lambda: timm.create_model("efficientnet_b0"), 32),
    "vit": (torchvision_vit, timm_vit, 32),
    "swin": (torchvision_swin, timm_swin, 32),
    "convnext": (torchvision_convnext, timm_convnext, 64),
    "resnet18, equal names": (torchvision.models.resnet18, lambda: timm.create_model("resnet18"), 32),
}


def randomised(build: Build) -> nn.Module:
    """A network in which every tensor differs from every other, statistics too."""
    torch.manual_seed(0)
    model = build().eval()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn_like(tensor) * 0.1 if tensor.ndim > 1 else torch.rand_like(tensor) + 0.5)
    return model


@pytest.mark.parametrize("name", PAIRS)
def test_the_copied_network_computes_the_same(name: str) -> None:
    build, other, size = PAIRS[name]
    source, target = randomised(build), other().eval()
    audit = copy_weights(target, source.state_dict())
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected, got = source(x), target(x)
    assert audit.share == 1.0 and audit.count("new") == 0
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


#: Same tensors or nearly, another network or an order that can't be told: refused.
REFUSED: dict[str, tuple[Build, Build]] = {
    "RegNet, whose shortcut has the shape of its first layer": (
        torchvision.models.regnet_y_400mf,
        lambda: timm.create_model("regnety_004"),
    ),
    "MobileNet V2 into V3": (torchvision.models.mobilenet_v2, torchvision.models.mobilenet_v3_small),
    "another depth": (lambda: timm.create_model("test_vit"), lambda: timm.create_model("test_vit", depth=2)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_network_is_refused(name: str) -> None:
    build, other = REFUSED[name]
    state = {f"x.{name}".replace("blocks", "layers"): tensor for name, tensor in build().state_dict().items()}
    target = other()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(ValueError, match="another architecture"):
        copy_weights(target, state)
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())


def test_counting_off_without_verification_would_copy_the_wrong_layers() -> None:
    """The law has teeth: two layers of one shape in another order are seen by their norms."""
    shapes = {"weight": (4, 4), "bias": (4,), "running_mean": (4,)}
    target = {f"{layer}.{leaf}": shape for layer in ("a", "b", "c") for leaf, shape in shapes.items()}
    crossed = {
        "p.weight": (4, 4),
        "q.weight": (4, 4),
        "q.bias": (4,),
        "p.bias": (4,),
        "p.running_mean": (4,),
        "q.running_mean": (4,),
        "r.weight": (4, 4),
        "r.bias": (4,),
        "r.running_mean": (4,),
    }
    straight = {f"{layer}.{leaf}": shape for layer in ("p", "q", "r") for leaf, shape in shapes.items()}
    assert match_by_order(target, straight) == dict(zip(target, straight, strict=True))
    assert match_by_order(target, crossed) is None


def test_names_under_prefixes_on_both_sides() -> None:
    names = [f"block.{n}.weight" for n in range(5)]
    source = {f"student.backbone.{name}": (2,) for name in names} | {"student.head.weight": (3,)}
    target = {f"encoder.{name}": (2,) for name in names} | {"decoder.weight": (4,)}
    assert match_by_name(target, source) == {f"encoder.{n}": f"student.backbone.{n}" for n in names}


def test_a_trunk_goes_into_a_segmentation_network(shared_data: Path) -> None:
    import segmentation_models_pytorch as smp

    state = read_weights(shared_data / "weights" / "mobilenet_v2_imagenet.pth")
    model = smp.Unet("mobilenet_v2", encoder_weights=None)
    audit = copy_weights(model, state, minimum=0.3)
    assert sum(row.status == "copied" and row.name.startswith("encoder.") for row in audit.rows) == 312
    assert torch.equal(model.encoder.features[0][0].weight, state["features.0.0.weight"])


def test_real_weights_by_name_and_by_order(shared_data: Path) -> None:
    state = read_weights(shared_data / "weights" / "mobilenet_v2_imagenet.pth")
    ours, theirs = torchvision.models.mobilenet_v2(), replace_head(timm.create_model("mobilenetv2_100"), 5)
    assert copy_weights(ours, state).summary() == "314 of 314 tensors copied"
    summary = "312 of 314 tensors copied by order and shape, output layer new (1280 -> 5)"
    assert copy_weights(theirs, state).summary() == summary
    x = torch.randn(1, 3, 64, 64)
    features: list[Tensor] = []
    theirs.classifier.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0]))
    ours.classifier[1].register_forward_pre_hook(lambda module, inputs: features.append(inputs[0]))
    with torch.no_grad():
        ours.eval()(x), theirs.eval()(x)
    torch.testing.assert_close(features[0], features[1], rtol=1e-4, atol=1e-5)
