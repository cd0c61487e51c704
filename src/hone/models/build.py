"""Build a model by name, with its library's own weights or none, and say how its input is prepared."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from torch import nn

from hone.data import Preprocessing
from hone.models.clips import ClipModel, clip_options
from hone.models.monai_networks import build_monai
from hone.models.names import CLIP_LIBRARIES, ModelName, import_name, segmentation_models
from hone.models.segmentation import build_smp, build_torchvision_segmentation


def build_model(name: ModelName, *, pretrained: bool, options: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a model with its library's own output layer.

    Args:
        name: from :func:`hone.models.find_model`.
        pretrained: load the library's own default weights.
        options: further arguments of its builder.

    Raises:
        ValueError: the weights can't be had (what to do instead is said), or the builder refuses an option.
        TypeError: the user's builder returned something else than a module.

    Example:
        >>> from hone.models import find_model
        >>> build_model(find_model("resnet18"), pretrained=False).fc.in_features
        512
    """
    try:
        model = _builder(name, pretrained)(**dict(options or {}))
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise ValueError(
            f"the pretrained weights of {name} can't be had ({_first_line(error)}); "
            "give --weights FILE, --from RUN, or --no-pretrained to start from random weights"
        ) from error
    except TypeError as error:
        raise ValueError(f"model {name} does not take these options: {_first_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise TypeError(f"model {name} must build a torch.nn.Module, got {type(model).__name__}")
    return model


def input_preprocessing(name: ModelName, model: nn.Module) -> Preprocessing:
    """How the model's input was prepared where it was pretrained; ImageNet's usual way for a user's own model.

    Of a network for clips: how a frame is.
    """
    if isinstance(model, ClipModel):
        return input_preprocessing(name.image, model.network)
    if name.library == "timm":
        import timm

        return Preprocessing.from_timm(timm.data.resolve_model_data_config(model))
    if name.library == "torchvision" and name.name not in segmentation_models():
        from torchvision.models import get_model_weights

        return Preprocessing.from_torchvision(get_model_weights(name.name).DEFAULT.transforms())
    return Preprocessing()


def takes_one_size(name: ModelName, model: nn.Module) -> bool:
    """Whether the model is built for its input size: position embeddings of one length, a last pool of a fixed size."""
    if isinstance(model, ClipModel):
        return takes_one_size(name.image, model.network)
    if name.library == "torchvision":
        return name.name.startswith(("vit_", "mvit_", "s3d"))
    return bool(getattr(model, "pretrained_cfg", {}).get("fixed_input_size", False))


def _builder(name: ModelName, pretrained: bool) -> Any:
    if name.library == "smp":
        return lambda **options: build_smp(name.name, options, pretrained=pretrained)
    if name.library == "torchvision" and name.name in segmentation_models():
        return lambda **options: build_torchvision_segmentation(name.name, options, pretrained=pretrained)
    if name.library == "torchvision":
        from torchvision.models import get_model

        return lambda **options: get_model(name.name, weights="DEFAULT" if pretrained else None, **options)
    if name.library == "timm":
        import timm

        return lambda **options: timm.create_model(name.name, pretrained=pretrained, **options)
    if name.library == "monai":
        return lambda **options: build_monai(name.name, options)
    if name.library in CLIP_LIBRARIES:
        return functools.partial(_build_clip_model, name, pretrained)
    return import_name(str(name), what="model")


def _build_clip_model(name: ModelName, pretrained: bool, **options: Any) -> ClipModel:
    own, of_image = clip_options(options)
    image = build_model(name.image, pretrained=pretrained, options=of_image)
    return ClipModel(image, **{"time_kernel": 3 if name.library == "inflated" else 1, **own})


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
