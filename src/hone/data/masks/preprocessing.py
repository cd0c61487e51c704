"""What a segmentation network expects of its input, kept as ``preprocessing.json`` beside the weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from ...checks import integer, invalid, number
from ..preprocessing import read_values


@dataclass(frozen=True)
class MaskPreprocessing:
    """How an image becomes the input: its own size, ``(x / 255 - mean) / std``, crops to train, windows where large.

    Args:
        image_size: height and width of a training crop, and of a window over a large image, pixels.
        mean: mean of each channel of images in [0, 1].
        std: standard deviation of each channel of images in [0, 1].
        labels: whether a pixel may have several labels (sigmoid), or one class (softmax).
        multiple: heights and widths that the network takes are multiples of this.
        overlap: share of a window that the next one covers too.
        peak: what becomes white in grey of more than 8 bits.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of its range.

    Example:
        >>> preprocessing = MaskPreprocessing(image_size=160)
        >>> MaskPreprocessing.from_json(preprocessing.to_json()) == preprocessing
        True
    """

    image_size: int = 256
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    labels: bool = False
    multiple: int = 32
    overlap: float = 0.25
    peak: int = 65535

    def __post_init__(self) -> None:
        integer("multiple", self.multiple, at_least=1)
        integer("peak", self.peak, at_least=1)
        number("overlap", self.overlap, at_least=0, below=1)
        if integer("image_size", self.image_size, at_least=1) % self.multiple:
            raise invalid("image_size", f"be a multiple of {self.multiple} for this model", self.image_size)
        for name in ("mean", "std"):
            values = tuple(number(name, value, at_least=0, at_most=1) for value in getattr(self, name))
            if len(values) != 3:
                raise invalid(name, "be three numbers, one a channel", values)
            object.__setattr__(self, name, values)

    def describe(self) -> str:
        """The input, in a few words."""
        return f"crops of {self.image_size} px"

    def to_json(self) -> str:
        """The text of ``preprocessing.json``."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> MaskPreprocessing:
        """Read the text of a ``preprocessing.json``.

        Raises:
            ValueError: it is not JSON, lacks a field or has one too many, or a value is out of its range.
        """
        return cls(**read_values(text, [field.name for field in fields(cls)]))
