"""What the result of a segmentation of volumes says of classes and cases, with pictures, and surface distances."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hone.data.volumes import VolumeExamples
from hone.recipe.closer_look import CloserLook
from hone.report import Case, score
from hone.report.cases import ends
from hone.report.overlays import three_planes
from hone.training import Outputs, dice_scores


def volume_details(outputs: Outputs, examples: VolumeExamples, look: CloserLook | None) -> dict[str, Any]:
    """Fields of a result.

    Args:
        outputs: (n, C - 1, 3) counts of every case.
        examples: that they are of.
        look: shows single cases again.

    Returns:
        ``per_class``: scores of counts pooled over all voxels, and each class's normalised surface distance. ``cases``:
        the best and worst by the mean Dice of the classes that they show. ``final``: the mean surface distance, whose
        name states the tolerance.
    """
    names = examples.classes[1:]
    pooled = outputs.logits.sum(0).long().tolist()
    surfaces = torch.full((len(names),), torch.nan, dtype=torch.float64)
    found: dict[str, Any] = {}
    if look is not None:
        tolerance = surface_tolerance(examples)
        by_case, cases = _closer(outputs, examples, look, tolerance)
        surfaces = by_case.nanmean(0)
        found = {"cases": cases, "final": {f"nsd_{tolerance:g}mm": float(surfaces.nanmean())}}
    per_class = [
        replace(score(name, hits=hits, claimed=claimed, support=support), surface=None if isnan(surface) else surface)
        for name, (hits, claimed, support), surface in zip(names, pooled, surfaces.tolist(), strict=True)
    ]
    return {"per_class": per_class, **found}


def surface_tolerance(examples: VolumeExamples) -> float:
    """How far apart surfaces count as one, mm: the median voxel's mean side, to two digits.

    A surface can't be drawn finer than that.
    """
    return float(f"{np.mean(examples.median_spacing()):.2g}")


def surface_scores(
    predicted: Tensor, truth: Tensor, classes: int, tolerance: float, spacing: Sequence[float]
) -> Tensor:
    """The normalised surface distance of one case: the share of both surfaces within the tolerance of the other.

    Args:
        predicted: (X, Y, Z) labels.
        truth: (X, Y, Z) labels.
        classes: with the background.
        tolerance: mm.
        spacing: of the voxels, mm.

    Returns:
        (classes - 1,) float64: 0 where only one of the surfaces is there, NaN where neither is.

    Reference:
        Nikolov et al. 2018, "Deep learning to achieve clinically applicable segmentation", surface Dice; MONAI's.
    """
    from monai.metrics import compute_surface_dice

    found = torch.full((classes - 1,), torch.nan, dtype=torch.float64)
    for label in range(1, classes):
        one, other = (labels == label for labels in (predicted, truth))
        if one.any() and other.any():
            pair = (mask[None, None].float() for mask in (one, other))
            with warnings.catch_warnings():
                # MONAI 1.6 calls itself with an argument that it has deprecated.
                warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
                share = compute_surface_dice(*pair, [tolerance], include_background=True, spacing=list(spacing))
            found[label - 1] = float(share)
        elif one.any() or other.any():
            found[label - 1] = 0.0
    return found


def _closer(
    outputs: Outputs, examples: VolumeExamples, look: CloserLook, tolerance: float
) -> tuple[Tensor, list[Case]]:
    """Every case's surface scores, and pictures of those at either end."""
    scores = dice_scores(outputs.logits)
    values = scores.nanmean(1)
    shown = ends(values.tolist())
    surfaces: list[Tensor] = []
    cases: list[Case] = []
    for row, image, truth, logits in look(range(len(examples))):
        predicted = logits.argmax(0).cpu()
        spacing = look.job.preprocessing.spacing_of(examples.facts[row].images[0].spacing)
        counted = truth.cpu()
        if examples.ignore is not None:
            counted = counted.masked_fill(counted == examples.ignore, 0)
        surfaces.append(surface_scores(predicted, counted, len(examples.classes), tolerance, spacing))
        if row in shown:
            file = look.folder / f"{shown[row].replace(' ', '-')}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            three_planes(image[0].float().cpu().numpy(), counted.numpy(), predicted.numpy(), spacing).save(file)
            each = dict(zip(examples.classes[1:], scores[row].tolist(), strict=True))
            known = {name: value for name, value in each.items() if value == value}
            picture = f"{look.folder.name}/{file.name}"
            cases.append(Case(str(Path(examples.paths[row]).resolve()), shown[row], float(values[row]), known, picture))
    order = list(shown.values())
    return torch.stack(surfaces), sorted(cases, key=lambda case: order.index(case.rank))
