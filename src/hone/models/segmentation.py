"""Networks that give a class to each pixel: segmentation_models_pytorch's and torchvision's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from hone.data import Preprocessing

#: The architectures of segmentation_models_pytorch; each takes any of its encoders, ``tu-NAME`` for timm's.
SMP_NAMES = (
    "DPT",
    "DeepLabV3",
    "DeepLabV3Plus",
    "FPN",
    "Linknet",
    "MAnet",
    "PAN",
    "PSPNet",
    "Segformer",
    "UPerNet",
    "Unet",
    "UnetPlusPlus",
)
#: What torchvision and segmentation_models_pytorch call the pretrained part of such a network.
_ENCODERS = ("encoder", "backbone")
#: Encoders that were pretrained on pixels scaled to [-1, 1]; all others of the library on ImageNet's mean and spread.
_SIGNED = ("inceptionresnetv2", "inceptionv4", "xception")


def build_smp(name: str, options: Mapping[str, Any], *, pretrained: bool) -> nn.Module:
    """An architecture of segmentation_models_pytorch with its library's encoder weights, or none.

    Args:
        name: one of ``SMP_NAMES``.
        options: arguments of the class: ``encoder_name``, ``decoder_channels``, ...
        pretrained: take the encoder's default weights, "imagenet" where ``encoder_weights`` does not say others.

    Raises:
        ValueError: there is no such encoder or no such weights.

    Example:
        >>> type(build_smp("Unet", {"encoder_name": "mobilenet_v2"}, pretrained=False)).__name__
        'Unet'
    """
    import segmentation_models_pytorch as smp

    weights = options.get("encoder_weights", "imagenet") if pretrained else None
    try:
        model: nn.Module = getattr(smp, name)(**{**options, "encoder_weights": weights})
    except KeyError as error:  # smp's error for an encoder's name, over several lines
        raise ValueError(f"model smp:{name}: {' '.join(str(error.args[0]).split())[:200]}") from None
    return model


def build_torchvision_segmentation(name: str, options: Mapping[str, Any], *, pretrained: bool) -> nn.Module:
    """A segmentation network of torchvision, giving the logits themselves instead of a dict that holds them.

    It has no auxiliary output, and its state dict is torchvision's own.

    Example:
        >>> import torch
        >>> model = build_torchvision_segmentation("lraspp_mobilenet_v3_large", {}, pretrained=False)
        >>> model.eval()(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 21, 64, 64])
    """
    from torchvision.models import get_model

    weights = {"weights": "DEFAULT"} if pretrained else {"weights": None, "weights_backbone": None}
    model: nn.Module = get_model(name, **{**weights, **options})
    if hasattr(model, "aux_classifier"):
        model.register_module("aux_classifier", None)
    model.register_forward_hook(_logits_alone)
    return model


def _logits_alone(model: nn.Module, inputs: Any, outputs: dict[str, Tensor]) -> Tensor:
    return outputs["out"]


def encoder_of(model: nn.Module) -> tuple[str, nn.Module] | None:
    """The pretrained part of a segmentation network and its name in it; None where there is no such part.

    Example:
        >>> encoder_of(build_smp("FPN", {"encoder_name": "resnet18"}, pretrained=False))[0]
        'encoder'
    """
    return next(((name, part) for name, part in model.named_children() if name in _ENCODERS), None)


def smp_preprocessing(options: Mapping[str, Any]) -> Preprocessing:
    """How the encoder's input was prepared where it was pretrained.

    Example:
        >>> smp_preprocessing({"encoder_name": "xception"}).mean
        (0.5, 0.5, 0.5)
    """
    encoder = str(options.get("encoder_name", "resnet34"))
    if encoder.startswith("tu-"):
        import timm

        known = timm.get_pretrained_cfg(encoder.removeprefix("tu-"))
        if known is not None:
            return Preprocessing(mean=tuple(known.mean), std=tuple(known.std))
    return Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3) if encoder in _SIGNED else Preprocessing()
