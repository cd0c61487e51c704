"""What the result of a segmentation of images says of classes and single images, with pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from hone.data import Examples
from hone.data.masks import MaskExamples, MaskPreprocessing
from hone.data.masks.examples import has_background
from hone.recipe.closer_look import CloserLook
from hone.report import Case, score
from hone.report.cases import ends
from hone.report.overlays import beside
from hone.training import Outputs, dice_scores


def details(outputs: Outputs, examples: Examples, look: CloserLook | None = None) -> dict[str, Any]:
    """Scores of each class over all pixels, and the best and worst images by the mean Dice of what they show.

    Args:
        outputs: (n, classes, 3) counts of every image, of the classes that are measured.
        examples: that they are of.
        look: shows single images again; None takes no pictures.
    """
    masks = cast(MaskExamples, examples)
    first = int(has_background(masks.classes, masks.coding.labels))
    names = masks.classes[first:]
    pooled = outputs.logits.sum(0).long().tolist()
    per_class = [
        score(name, hits=hits, claimed=claimed, support=support)
        for name, (hits, claimed, support) in zip(names, pooled, strict=True)
    ]
    return {"per_class": per_class, "cases": _cases(outputs, masks, names, first, look) if look is not None else []}


def _cases(outputs: Outputs, examples: MaskExamples, names: list[str], first: int, look: CloserLook) -> list[Case]:
    scores = dice_scores(outputs.logits)
    values = scores.nanmean(1)
    shown = ends(values.tolist())
    found: list[Case] = []
    for row, inputs, truth, logits in look(list(shown)):
        file = look.folder / f"{shown[row].replace(' ', '-')}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        layers = (_layers(part, examples, first) for part in (truth.cpu(), _decided(logits, examples)))
        beside(_pixels(inputs, look.job.preprocessing), *layers).save(file)
        each = {name: value for name, value in zip(names, scores[row].tolist(), strict=True) if value == value}
        picture = f"{look.folder.name}/{file.name}"
        found.append(Case(str(Path(examples.paths[row]).resolve()), shown[row], float(values[row]), each, picture))
    order = list(shown.values())
    return sorted(found, key=lambda case: order.index(case.rank))


def _decided(logits: Tensor, examples: MaskExamples) -> Tensor:
    return (logits > 0).float().cpu() if examples.coding.labels else logits.argmax(0).cpu()


def _layers(mask: Tensor, examples: MaskExamples, first: int) -> Any:
    """(classes, H, W) bool: where each class that is measured is."""
    if examples.coding.labels:
        return (mask == 1).numpy()
    return torch.stack([mask == value for value in range(first, len(examples.classes))]).numpy()


def _pixels(inputs: Tensor, preprocessing: MaskPreprocessing) -> Any:
    """(3, H, W) as the network has it -> (H, W, 3) uint8 as a person sees it."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    pixels = (inputs.float().cpu() * std + mean) * 255
    return pixels.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
