"""Dice and IoU of masks and volumes, from counts of voxels: exact over any number of batches and processes.

Of each sample and class three numbers are kept: voxels that are truly and by prediction of the class (intersection),
that are so by prediction, and that are so truly. Voxels that are ignored count nowhere.
"""

from __future__ import annotations

import torch
from torch import Tensor


def overlap_counts(logits: Tensor, target: Tensor, *, ignore_index: int = -100, background: bool = False) -> Tensor:
    """Count voxels where each has one class, the one with the highest logit.

    Args:
        logits: (n, C, *spatial).
        target: (n, *spatial) class indices.
        ignore_index: voxels of this value are left out.
        background: whether class 0 is one of the classes that are measured.

    Returns:
        (n, C - 1, 3) float64, or (n, C, 3) with the background: intersection, predicted, true.

    Example:
        >>> logits = torch.tensor([[[2.0, 0.0, 0.0], [1.0, 3.0, 3.0]]])
        >>> overlap_counts(logits, torch.tensor([[0, 1, 0]])).tolist()
        [[[1.0, 2.0, 1.0]]]
    """
    return index_counts(logits.argmax(1), target, logits.shape[1], ignore_index=ignore_index, background=background)


def index_counts(
    predicted: Tensor, target: Tensor, classes: int, *, ignore_index: int = -100, background: bool = False
) -> Tensor:
    """As :func:`overlap_counts`, of predicted class indices (n, *spatial): for slabs of a volume, whose counts add up.

    Example:
        >>> index_counts(torch.tensor([[0, 1, 1]]), torch.tensor([[0, 1, 0]]), 2).tolist()
        [[[1.0, 2.0, 1.0]]]
    """
    n, device = len(target), target.device
    truth, guess = target.reshape(n, -1).long(), predicted.reshape(n, -1).long()
    valid = truth != ignore_index
    sample = torch.arange(n, device=device).unsqueeze(1)
    # One cell of a confusion matrix a voxel; what is ignored falls into a cell behind the last.
    cell = torch.where(valid, (sample * classes + truth) * classes + guess, n * classes * classes)
    matrix = torch.bincount(cell.flatten(), minlength=n * classes * classes + 1)[:-1].view(n, classes, classes)
    counts = torch.stack([matrix.diagonal(dim1=1, dim2=2), matrix.sum(1), matrix.sum(2)], dim=2)
    return counts[:, 0 if background else 1 :].double().cpu()


def label_counts(logits: Tensor, target: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Count voxels where each has any number of labels: those whose probability is above 1/2.

    Args:
        logits: (n, C, *spatial).
        target: (n, C, *spatial) of 0 and 1.
        valid: (n, *spatial) or (n, C, *spatial) bool: what counts; None: everything.

    Returns:
        (n, C, 3) float64: intersection, predicted, true.

    Example:
        >>> label_counts(torch.tensor([[[2.0, -1.0, 3.0]]]), torch.tensor([[[1, 1, 0]]])).tolist()
        [[[1.0, 2.0, 2.0]]]
    """
    guess, truth = logits > 0, target > 0.5
    if valid is not None:
        valid = valid if valid.ndim == truth.ndim else valid.unsqueeze(1)
        guess, truth = guess & valid, truth & valid
    counts = [part.flatten(2).sum(2, dtype=torch.float64) for part in (guess & truth, guess, truth)]
    return torch.stack(counts, dim=2).cpu()


def dice_scores(counts: Tensor) -> Tensor:
    r"""Dice :math:`2 I / (P + T)` of counts (..., 3); NaN where the class is neither predicted nor true.

    Example:
        >>> dice_scores(torch.tensor([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]])).tolist()
        [0.5, nan]
    """
    intersection, predicted, true = counts.double().unbind(-1)
    return 2 * intersection / (predicted + true)


def iou_scores(counts: Tensor) -> Tensor:
    r"""Intersection over union :math:`I / (P + T - I)` of counts (..., 3); NaN where the class is nowhere.

    Example:
        >>> iou_scores(torch.tensor([1.0, 2.0, 2.0])).item()
        0.3333333333333333
    """
    intersection, predicted, true = counts.double().unbind(-1)
    return intersection / (predicted + true - intersection)


def overlap_metrics(counts: Tensor) -> dict[str, float]:
    """Dice and IoU over a whole data set.

    A class that no sample shows, neither in truth nor in prediction, says nothing and is left out of every mean. A
    class that is predicted where the truth has none of it scores 0 there.

    Args:
        counts: (n, classes, 3) of the classes that are measured.

    Returns:
        dice: counts pooled over all voxels, then the mean over the classes.
        mean_dice: of each sample and class, the mean over the samples that show the class, then over the classes.
        iou: as dice.

    Example:
        >>> overlap_metrics(torch.tensor([[[1.0, 2.0, 2.0]], [[3.0, 3.0, 3.0]]]))["mean_dice"]
        0.75
    """
    pooled = counts.sum(0)
    return {
        "dice": float(dice_scores(pooled).nanmean()),
        "mean_dice": float(dice_scores(counts).nanmean(0).nanmean()),
        "iou": float(iou_scores(pooled).nanmean()),
    }
