"""Made photos, and a user's own module: everything that a command needs, small enough for many runs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from hone.data import Preprocessing

CLASSES = ("ant", "bee", "cat")

#: What a user would have written beside the data.
OWN_PARTS = '''
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler


def plain():
    """Neither batch norm nor dropout."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 10)
    )


def normed(width=8):
    """Batch norm and dropout: what drifts, and what draws."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 10),
    )


def tiny():
    """An image network of three layers."""
    layers = []
    for narrow, wide in ((3, 16), (16, 24), (24, 32)):
        layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))


def no_module():
    return "a string"


def no_weights():
    raise OSError("no route to the hub")


def half(step):
    return 0.5 ** step


def nine_tenths(step):
    return 0.9


class Halving(LRScheduler):
    def __init__(self, optimizer, every=1, last_epoch=-1):
        self.every = every
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        return [base * 0.5 ** (self.last_epoch // self.every) for base in self.base_lrs]


def margin_loss(logits, target, margin=1.0):
    return nn.functional.multi_margin_loss(logits.float(), target, margin=margin)


class ScaledLoss(nn.Module):
    def __init__(self, factor: float = 1.0):
        super().__init__()
        self.factor = factor

    def forward(self, logits, target):
        return self.factor * nn.functional.cross_entropy(logits.float(), target)


class BreakingLoss(nn.Module):
    """NaN from the given call on."""

    def __init__(self, after: int):
        super().__init__()
        self.calls, self.after = 0, after

    def forward(self, logits, target):
        self.calls += self.training and torch.is_grad_enabled()
        loss = nn.functional.cross_entropy(logits.float(), target)
        return loss * float("nan") if self.calls > self.after else loss
'''


def photo(kind: int, generator: np.random.Generator, width: int = 36, height: int = 32) -> Image.Image:
    """A smooth random picture in which channel ``kind`` is the brightest."""
    coarse = generator.integers(0, 120, (4, 4, 3), dtype=np.uint8)
    coarse[..., kind % 3] += 100
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def class_folders(root: Path, counts: Sequence[int], seed: int = 0, classes: Sequence[str] = CLASSES) -> Path:
    """``root/CLASS/*.png``, so many of each class."""
    generator = np.random.default_rng(seed)
    for kind, (name, count) in enumerate(zip(classes, counts, strict=True)):
        (root / name).mkdir(parents=True)
        for k in range(count):
            photo(kind, generator).save(root / name / f"{k:02}.png")
    return root


def flat_photos(folder: Path, count: int, seed: int = 0) -> list[str]:
    """Photos of the classes in turn, in one folder; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    names = [f"{k:02}.png" for k in range(count)]
    for k, name in enumerate(names):
        photo(k, generator).save(folder / name)
    return names


def write_table(file: Path, rows: Sequence[Sequence[object]]) -> Path:
    """A CSV of these rows."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return file


def prepared(path: str, preprocessing: Preprocessing) -> Tensor:
    """A batch of one photo, by torchvision's own steps."""
    from torchvision.transforms import v2

    size = preprocessing.image_size
    with Image.open(path) as image:
        pixels = v2.functional.pil_to_tensor(image.convert("RGB"))
    pixels = v2.functional.center_crop(
        v2.functional.resize(pixels, [preprocessing.resize], antialias=True), [size, size]
    )
    return v2.functional.normalize(pixels.float() / 255, list(preprocessing.mean), list(preprocessing.std))[None]


def differing(left: Path, right: Path) -> list[str]:
    """The tensors that two weight files do not share bit for bit."""
    a, b = load_file(left), load_file(right)
    assert a.keys() == b.keys()
    return [name for name in a if not torch.equal(a[name], b[name])]
