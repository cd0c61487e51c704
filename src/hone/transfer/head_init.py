"""How each library initialises its own output layers, so that a replaced one starts as the library's would.

timm's ``reset_classifier`` makes plain layers, so its heads, and those of unknown networks, get torch's own
initialisation. The rest is read off the constructors of torchvision, segmentation_models_pytorch and MONAI; the tests
compare with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import init

_Fill = Callable[[Tensor], object]


def _uniform_by_outputs(weight: Tensor) -> Tensor:
    bound = 1.0 / math.sqrt(weight.shape[0])
    return init.uniform_(weight, -bound, bound)


_normal_001: _Fill = partial(init.normal_, std=0.01)
_truncated_002: _Fill = partial(init.trunc_normal_, std=0.02)
_mnasnet: _Fill = partial(init.kaiming_uniform_, mode="fan_out", nonlinearity="sigmoid")

#: (start of the defining module, class) -> how the weight, how the bias is filled; None is torch's own way.
_RULES: dict[tuple[str, str], tuple[_Fill | None, _Fill | None]] = {
    ("torchvision", "MobileNetV2"): (_normal_001, init.zeros_),
    ("torchvision", "MobileNetV3"): (_normal_001, init.zeros_),
    ("torchvision", "RegNet"): (_normal_001, init.zeros_),
    ("torchvision", "VGG"): (_normal_001, init.zeros_),
    ("torchvision", "SqueezeNet"): (_normal_001, init.zeros_),
    ("torchvision", "VideoResNet"): (_normal_001, init.zeros_),
    ("torchvision", "DenseNet"): (None, init.zeros_),
    ("torchvision", "MNASNet"): (_mnasnet, init.zeros_),
    ("torchvision", "EfficientNet"): (_uniform_by_outputs, init.zeros_),
    ("torchvision", "ConvNeXt"): (_truncated_002, init.zeros_),
    ("torchvision", "SwinTransformer"): (_truncated_002, init.zeros_),
    ("torchvision", "SwinTransformer3d"): (_truncated_002, init.zeros_),
    ("torchvision", "MViT"): (_truncated_002, init.zeros_),
    ("torchvision", "MaxVit"): (partial(init.normal_, std=0.02), init.zeros_),
    ("torchvision", "VisionTransformer"): (init.zeros_, init.zeros_),
    ("torchvision", "GoogLeNet"): (partial(init.trunc_normal_, std=0.01, a=-2.0, b=2.0), None),
    ("torchvision", "Inception3"): (partial(init.trunc_normal_, std=0.1, a=-2.0, b=2.0), None),
    ("segmentation_models_pytorch", "*"): (init.xavier_uniform_, init.zeros_),
    ("monai", "DenseNet"): (None, init.zeros_),
    ("monai", "ResNet"): (None, init.zeros_),
}


def initialise(model: nn.Module, layer: nn.Module) -> None:
    """Fill a fresh layer of ``model`` as the model's library does."""
    if callable(reset := getattr(layer, "reset_parameters", None)):
        reset()
    library = type(model).__module__.split(".")[0]
    names = [cls.__name__ for cls in type(model).__mro__]
    rule = next((_RULES[key] for name in [*names, "*"] if (key := (library, name)) in _RULES), (None, None))
    for parameter, fill in zip((getattr(layer, "weight", None), getattr(layer, "bias", None)), rule, strict=True):
        if fill is not None and isinstance(parameter, Tensor) and (parameter.ndim > 1 or parameter is not layer.weight):
            fill(parameter)
