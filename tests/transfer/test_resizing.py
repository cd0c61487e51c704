"""Weights in another shape, against timm's own functions and against what the layers compute."""

from __future__ import annotations

import monai.networks.nets as monai_nets
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from timm.layers import resample_abs_pos_embed
from timm.models._manipulate import adapt_input_conv
from torch import nn
from torch.nn import functional as F

from hone.transfer import adapt_channels, adapt_input, copy_weights, inflate, resize_positions


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 13])
def test_channels_as_timm_adapts_them(channels: int) -> None:
    weight = torch.randn(8, 3, 5, 5)
    torch.testing.assert_close(adapt_channels(weight, channels), adapt_input_conv(channels, weight))


def test_a_grey_image_gives_what_three_equal_channels_gave() -> None:
    weight, grey = torch.randn(8, 3, 3, 3, dtype=torch.float64), torch.randn(2, 1, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(F.conv2d(grey, adapt_channels(weight, 1)), F.conv2d(grey.expand(-1, 3, -1, -1), weight))


@pytest.mark.parametrize("depth", [1, 3, 7])
def test_a_volume_of_equal_slices_gives_what_the_slice_gave(depth: int) -> None:
    weight, image = torch.randn(4, 3, 3, 3, dtype=torch.float64), torch.randn(2, 3, 9, 9, dtype=torch.float64)
    volume = image.unsqueeze(2).repeat(1, 1, 8, 1, 1)
    expected = F.conv2d(image, weight)
    for slice_ in F.conv3d(volume, inflate(weight, depth)).unbind(2):
        torch.testing.assert_close(slice_, expected)


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize(("old", "new"), [(7, 14), (14, 7), (24, 14), (3, 3)])
def test_positions_as_timm_interpolates_them(old: int, new: int, prefix: int) -> None:
    table = torch.randn(1, prefix + old * old, 12)
    expected = resample_abs_pos_embed(table, [new, new], num_prefix_tokens=prefix)
    torch.testing.assert_close(resize_positions(table, prefix + new * new, prefix), expected)


def test_a_transformer_for_larger_images() -> None:
    source = timm.create_model("test_vit")
    target = timm.create_model("test_vit", img_size=224)
    audit = copy_weights(target, source.state_dict())
    assert [(row.name, row.reason) for row in audit.rows if row.status == "resized"] == [
        ("pos_embed", "101 -> 197 positions")
    ]
    expected = resample_abs_pos_embed(source.pos_embed, [14, 14], num_prefix_tokens=1)
    torch.testing.assert_close(target.pos_embed, expected)


def test_windows_of_another_size() -> None:
    options = {"patch_size": 4, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "num_classes": 3}
    source = timm.models.swin_transformer.SwinTransformer(32, window_size=4, **options)
    target = timm.models.swin_transformer.SwinTransformer(64, window_size=8, **options)
    audit = copy_weights(target, source.state_dict())
    resized = [row.name for row in audit.rows if row.status == "resized"]
    assert audit.share == 1.0 and all(name.endswith("relative_position_bias_table") for name in resized) and resized


def test_a_network_for_photos_becomes_one_for_grey_volumes() -> None:
    """torchvision's ResNet-18 into MONAI's 3D one of the same names: every filter inflated, the first made grey."""
    source = torchvision.models.resnet18()
    target = monai_nets.resnet18(
        spatial_dims=3, n_input_channels=1, num_classes=2, conv1_t_size=7, bias_downsample=False
    )
    audit = copy_weights(target, source.state_dict())
    reasons = {row.name: row.reason for row in audit.rows}
    assert audit.share == 1.0
    assert reasons["conv1.weight"] == "inflated to 3D, 3 -> 1 input channels"
    assert reasons["layer4.1.conv2.weight"] == "inflated to 3D"
    expected = source.conv1.weight.sum(1, keepdim=True)
    torch.testing.assert_close(target.conv1.weight.sum(2), expected, rtol=1e-4, atol=1e-6)


INPUTS = {
    "timm test_vit": (lambda: timm.create_model("test_vit"), (1, 3, 160, 160)),
    "timm test_resnet": (lambda: timm.create_model("test_resnet"), (1, 3, 32, 32)),
    "smp Unet": (lambda: smp.Unet("timm-mobilenetv3_small_minimal_100", encoder_weights=None), (1, 3, 32, 32)),
    "MONAI UNet, whose shortcut takes the input too": (
        lambda: monai_nets.UNet(3, 3, 2, (4, 8), (2,), num_res_units=2),
        (1, 3, 8, 8, 8),
    ),
    "plain": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2)), (1, 3, 3, 3)),
}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.filterwarnings("ignore")
def test_a_grey_network_equals_the_colour_network_on_grey_images(name: str) -> None:
    build, shape = INPUTS[name]
    torch.manual_seed(0)
    model = build().double().eval()
    grey = torch.randn(shape[0], 1, *shape[2:], dtype=torch.float64)
    with torch.no_grad():
        expected = model(grey.expand(shape))
        got = adapt_input(model, 1)(grey)
    torch.testing.assert_close(got, expected)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_the_input_functions_refuse() -> None:
    model = torchvision.models.resnet18()
    with pytest.raises(ValueError, match="channels must be a whole number at least 1, got 0"):
        adapt_input(model, 0)
    with pytest.raises(ValueError, match="layer must name an ungrouped convolution, got 'fc'"):
        adapt_input(model, 1, layer="fc")
    with pytest.raises(ValueError, match=r"takes the input of Linear was not found .* layer="):
        adapt_input(nn.Linear(3, 4), 1)
    with pytest.raises(ValueError, match="2D convolution"):
        inflate(torch.ones(2, 2), 3)
    with pytest.raises(ValueError, match="square"):
        resize_positions(torch.ones(1, 7, 2), 9)
    assert model.conv1.in_channels == 3
