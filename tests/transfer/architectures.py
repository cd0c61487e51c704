"""Small networks of many kinds: every sort of normalisation, dropout, stochastic depth, 2D and 3D."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import monai.networks.nets as monai_nets
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from torch import Tensor, nn

CLASSES = 3


def _timm(name: str, **options: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=CLASSES, **options)


def _monai_unet() -> nn.Module:
    return monai_nets.UNet(3, 1, CLASSES, (4, 8, 16), (2, 2), num_res_units=1, norm="BATCH", dropout=0.2)


class Simple(nn.Module):
    """Dropout, a batch norm without weights, and a loose parameter, all in the model itself."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8))
        self.first = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8, affine=False)
        self.drop = nn.Dropout(0.5)
        self.second = nn.Conv2d(8, 8, 3)
        self.head_drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.norm(self.first(x))) * self.scale[:, None, None]
        return self.fc(self.head_drop(self.second(x).mean((2, 3))))


#: name -> (model, input shape). BatchNorm, GroupNorm, LayerNorm, InstanceNorm, dropout, stochastic depth, 2D and 3D.
ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "simple": (Simple, (4, 3, 12, 12)),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=CLASSES), (2, 3, 32, 32)),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(num_classes=CLASSES), (2, 3, 32, 32)),
    "mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(num_classes=CLASSES), (2, 3, 32, 32)),
    "test_resnet": (_timm("test_resnet", drop_path_rate=0.3, drop_rate=0.2), (2, 3, 32, 32)),
    "test_vit": (_timm("test_vit", drop_path_rate=0.3, proj_drop_rate=0.2, pos_drop_rate=0.2), (2, 3, 160, 160)),
    "test_efficientnet": (_timm("test_efficientnet", drop_path_rate=0.3), (2, 3, 32, 32)),
    "test_efficientnet_gn": (_timm("test_efficientnet_gn", drop_path_rate=0.3), (2, 3, 32, 32)),
    "test_convnext": (_timm("test_convnext", drop_path_rate=0.3), (2, 3, 32, 32)),
    "test_byobnet": (_timm("test_byobnet"), (2, 3, 32, 32)),
    "test_nfnet": (_timm("test_nfnet"), (2, 3, 32, 32)),
    "monai_unet": (_monai_unet, (2, 1, 8, 8, 8)),
    "smp_unet": (
        lambda: smp.Unet("timm-mobilenetv3_small_minimal_100", encoder_weights=None, classes=CLASSES),
        (2, 3, 32, 32),
    ),
}


def built(name: str) -> tuple[nn.Module, Tensor]:
    build, shape = ARCHITECTURES[name]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the model libraries
        model = build()
    return model, torch.randn(shape, generator=torch.Generator().manual_seed(1))
