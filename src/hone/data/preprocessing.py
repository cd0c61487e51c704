"""What a model expects of its input, kept as ``preprocessing.json`` beside the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..checks import integer, invalid, number, one_of, unknown

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes the input of a model: short side to ``resize``, centre crop, ``(x / 255 - mean) / std``.

    Args:
        image_size: height and width of the model's input, pixels.
        crop_pct: the share of the short side that the centre crop keeps, in (0, 1]; ``resize`` is
            ``floor(image_size / crop_pct)``.
        mean: mean of each channel of images in [0, 1].
        std: standard deviation of each channel of images in [0, 1].
        interpolation: "bilinear", "bicubic" or "nearest"; the first two antialiased.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of its range.

    Example:
        >>> preprocessing = Preprocessing(image_size=160)
        >>> preprocessing.resize
        182
        >>> Preprocessing.from_json(preprocessing.to_json()) == preprocessing
        True
    """

    image_size: int = 224
    crop_pct: float = 0.875
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        integer("image_size", self.image_size, at_least=1)
        number("crop_pct", self.crop_pct, above=0, at_most=1)
        one_of("interpolation", self.interpolation, INTERPOLATIONS)
        for name, at_least in (("mean", 0.0), ("std", 1e-6)):
            values = getattr(self, name)
            if not isinstance(values, (tuple, list)) or len(values) != 3:
                raise invalid(name, "be three numbers, one a channel", values)
            checked = tuple(number(name, value, at_least=at_least, at_most=1) for value in values)
            object.__setattr__(self, name, checked)

    @property
    def resize(self) -> int:
        """The short side, in pixels, that a photo is resized to before the centre crop."""
        # The small term keeps 224 / (224 / 232) at 232, not 231.
        return int(self.image_size / self.crop_pct + 1e-6)

    @property
    def train_side(self) -> int:
        """The short side, in pixels, that photos are decoded to for training: room for random crops, no more."""
        return max(self.resize, int(self.image_size * 8 / 7 + 1e-6))

    def with_size(self, image_size: int) -> Preprocessing:
        """The same preprocessing for another input size.

        Example:
            >>> Preprocessing(image_size=224).with_size(160).resize
            182
        """
        return replace(self, image_size=image_size)

    def describe(self) -> str:
        """The input, in a few words."""
        return f"{self.image_size} px"

    def to_json(self) -> str:
        """The text of ``preprocessing.json``."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Preprocessing:
        """Read the text of a ``preprocessing.json``.

        Raises:
            ValueError: it is not JSON, lacks a field or has one too many, or a value is out of its range.
        """
        return cls(**read_values(text, [field.name for field in fields(cls)]))

    @classmethod
    def from_timm(cls, config: Mapping[str, Any]) -> Preprocessing:
        """Take over a timm data config, as ``timm.data.resolve_model_data_config(model)`` gives it.

        Example:
            >>> Preprocessing.from_timm({"input_size": (3, 224, 224), "crop_pct": 0.95, "interpolation": "bicubic",
            ...                          "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}).resize
            235
        """
        channels, height, width = config["input_size"]
        if channels != 3 or height != width:
            raise invalid("input_size", "be three channels and a square", config["input_size"])
        interpolation = config.get("interpolation", "bilinear")
        return cls(
            image_size=height,
            crop_pct=float(config.get("crop_pct") or 0.875),
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            interpolation="bicubic" if interpolation == "random" else interpolation,
        )

    @classmethod
    def from_torchvision(cls, preset: Any) -> Preprocessing:
        """Take over a torchvision preset, as ``Weights.DEFAULT.transforms()`` gives it.

        Example:
            >>> from torchvision.models import ResNet50_Weights
            >>> Preprocessing.from_torchvision(ResNet50_Weights.IMAGENET1K_V2.transforms()).resize
            232
        """
        missing = [name for name in ("crop_size", "resize_size", "mean", "std") if not hasattr(preset, name)]
        if missing:
            raise unknown("preset", type(preset).__name__, ["ImageClassification"])
        size = preset.crop_size[0]
        return cls(
            image_size=size,
            crop_pct=min(1.0, size / preset.resize_size[0]),
            mean=tuple(preset.mean),
            std=tuple(preset.std),
            interpolation=preset.interpolation.value,
        )


def read_values(text: str, names: Sequence[str]) -> dict[str, Any]:
    """The values of a ``preprocessing.json``, for whatever kind of data it is.

    Raises:
        ValueError: it is not JSON, lacks a name or has one too many.

    Example:
        >>> read_values('{"crops": 3}', ["crops"])
        {'crops': 3}
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise invalid("preprocessing.json", "be JSON", text[:40], str(error)) from None
    if not isinstance(values, dict) or sorted(values) != sorted(names):
        raise invalid("preprocessing.json", f"hold exactly {', '.join(names)}", values)
    return values
