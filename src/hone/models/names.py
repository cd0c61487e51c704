"""Which library a model's name means: ``torchvision:``, ``timm:``, ``smp:``, ``monai:NAME``, yours, or a bare name.

Before the name of an image network, ``frames:`` and ``inflated:`` make a network for clips of it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hone import checks
from hone.models.monai_networks import monai_names
from hone.models.segmentation import SMP_NAMES

#: What makes a network for clips of an image network.
CLIP_LIBRARIES = ("frames", "inflated")


@dataclass(frozen=True)
class ModelName:
    """A model's name, resolved.

    Attributes:
        library: ``torchvision``, ``timm``, ..., or the user's module; ``frames`` and ``inflated`` for clips.
        name: within it; for clips the image network's name, resolved.

    Example:
        >>> find_model("torchvision:resnet18")
        ModelName(library='torchvision', name='resnet18')
        >>> str(find_model("resnet18"))
        'torchvision:resnet18'
    """

    library: str
    name: str

    def __str__(self) -> str:
        return f"{self.library}:{self.name}"

    @property
    def image(self) -> ModelName:
        """The image network inside a network for clips; any other name is its own.

        Example:
            >>> str(find_model("inflated:resnet18").image)
            'torchvision:resnet18'
        """
        return find_model(self.name) if self.library in CLIP_LIBRARIES else self


def find_model(name: str) -> ModelName:
    """Resolve a name: a bare one is looked for in torchvision, in segmentation_models_pytorch, then in timm.

    Raises:
        ValueError: nothing has that name; the nearest are named.
    """
    library, colon, rest = name.partition(":")
    if library in CLIP_LIBRARIES and colon:
        return ModelName(library, str(find_model(rest)))
    if library == "monai" and colon:
        return ModelName("monai", checks.one_of("model monai:", rest, monai_names()))
    if library == "smp" and colon:
        return ModelName("smp", checks.one_of("model smp:", rest, SMP_NAMES))
    if name in SMP_NAMES:
        return ModelName("smp", name)
    if colon and library not in ("torchvision", "timm"):
        import_name(name, what="model")
        return ModelName(library, rest)
    if (not colon or library == "torchvision") and (rest or name) in torchvision_models():
        return ModelName("torchvision", rest or name)
    if colon and library == "torchvision":
        raise checks.unknown("model", name, [f"torchvision:{known}" for known in torchvision_models()])
    import timm  # 3 s to import: only where the name asks for it

    wanted = rest or name
    if timm.is_model(wanted.split(".")[0]):
        return ModelName("timm", wanted)
    known = timm.list_models() if colon else [*torchvision_models(), *SMP_NAMES, *timm.list_models()]
    raise checks.unknown("model", name, [f"timm:{each}" for each in known] if colon else known)


def torchvision_models() -> list[str]:
    """The names of torchvision's models that classify images and clips, and of those that segment images."""
    from torchvision import models

    return [name for module in (models, models.video) for name in models.list_models(module=module)] + [
        *segmentation_models()
    ]


def segments(name: ModelName) -> bool:
    """Whether the network gives a class to each pixel of an image.

    Example:
        >>> segments(find_model("Unet")), segments(find_model("resnet18"))
        (True, False)
    """
    return name.library == "smp" or (name.library == "torchvision" and name.name in segmentation_models())


def segmentation_models() -> list[str]:
    """The names of torchvision's models that segment images."""
    from torchvision import models

    return list(models.list_models(module=models.segmentation))


def import_name(name: str, *, what: str) -> Callable[..., Any]:
    """The object that ``module:name`` means, looked for in the working folder too.

    Args:
        name: for example ``my_losses:focal``.
        what: the option it was given for, for the error.

    Raises:
        ValueError: the module can't be imported, or has no such name.

    Example:
        >>> import_name("math:sqrt", what="loss")(4.0)
        2.0
    """
    module_name, _, attribute = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"{what} {name!r}: module {module_name!r} can't be imported: {error}") from error
    if not hasattr(module, attribute):
        public = [each for each in vars(module) if not each.startswith("_")]
        raise checks.unknown(f"{what}: in module {module_name}, the name", attribute, public)
    found: Callable[..., Any] = getattr(module, attribute)
    return found
