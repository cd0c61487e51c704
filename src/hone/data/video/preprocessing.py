"""What a video model expects of its input, kept as ``preprocessing.json`` beside the weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace

from ...checks import invalid, number
from ..preprocessing import Preprocessing, read_values
from .sampling import Sampling

CROPS = (1, 3)


@dataclass(frozen=True)
class ClipPreprocessing:
    """How a video becomes the input of a model: which frames, and what becomes of each.

    Args:
        image: size, crop, interpolation, mean and std of a frame.
        sampling: which frames a clip is made of, and how many clips a video gives in evaluation.
        crops: squares of each frame in evaluation: 1, the middle; 3, also those at both ends of its longer side.
        seconds: the usual length of the videos trained on: of the windows in which longer ones are predicted.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> preprocessing = ClipPreprocessing(Preprocessing(image_size=112), Sampling(8), seconds=2.5)
        >>> preprocessing.describe()
        '8 frames of 112 px'
        >>> ClipPreprocessing.from_json(preprocessing.to_json()) == preprocessing
        True
    """

    image: Preprocessing = field(default_factory=Preprocessing)
    sampling: Sampling = field(default_factory=Sampling)
    crops: int = 1
    seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.crops not in CROPS:
            raise invalid("crops", "be 1 or 3", self.crops)
        number("seconds", self.seconds, above=0)

    @property
    def image_size(self) -> int:
        """Height and width of the model's input, pixels."""
        return self.image.image_size

    @property
    def views(self) -> int:
        """Clips and crops of a video that are evaluated, in all."""
        return self.sampling.clips * self.crops

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of one input: channels, frames, height, width."""
        return 3, self.sampling.frames, self.image_size, self.image_size

    def describe(self) -> str:
        """The input, in a few words."""
        views = f", {self.views} views a video" if self.views > 1 else ""
        return f"{self.sampling.frames} frames of {self.image_size} px{views}"

    def with_one_view(self) -> ClipPreprocessing:
        """The same with one clip and one crop."""
        return replace(self, sampling=replace(self.sampling, clips=1), crops=1)

    def to_json(self) -> str:
        """The text of ``preprocessing.json``."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ClipPreprocessing:
        """Read the text of a ``preprocessing.json``.

        Raises:
            ValueError: it is not JSON, lacks a field or has one too many, or a value is out of its range.
        """
        values = read_values(text, [field.name for field in fields(cls)])
        try:
            image = Preprocessing.from_json(json.dumps(values["image"]))
            return cls(image, Sampling(**values["sampling"]), values["crops"], values["seconds"])
        except TypeError as error:
            raise invalid("preprocessing.json", "be that of a video run", text[:40], str(error)) from None
