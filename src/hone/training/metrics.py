"""Metrics by task, under the names that the command line and the run folder use.

Written out here, in a few lines each, because importing torchmetrics takes longer than importing torch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hone import checks
from hone.training.evaluate import Outputs

#: Task -> the metrics that it reports, its default first. ``loss`` is there for every task.
METRICS = {
    "classify": ("accuracy", "balanced_accuracy", "f1", "top5"),
    "multilabel": ("map", "f1", "exact_match"),
    "regress": ("mae", "rmse", "r2"),
}
_LOWER_IS_BETTER = {"loss", "mae", "rmse"}


def is_better(metric: str, value: float, best: float | None) -> bool:
    """Whether ``value`` beats ``best``; equal values don't, and NaN never does.

    Example:
        >>> is_better("accuracy", 0.9, 0.8), is_better("loss", 0.9, 0.8), is_better("loss", 0.8, 0.8)
        (True, False, False)
    """
    if math.isnan(value):
        return False
    if best is None:
        return True
    return value < best if metric in _LOWER_IS_BETTER else value > best


def check_metric(task: str, metric: str | None) -> str:
    """The metric by which "best" is decided: the task's default for None.

    Raises:
        ValueError: the task has no such metric; the nearest are named.

    Example:
        >>> check_metric("classify", None)
        'accuracy'
    """
    return METRICS[task][0] if metric is None else checks.one_of("metric", metric, [*METRICS[task], "loss"])


def measure(task: str, outputs: Outputs) -> dict[str, float]:
    """All metrics of a task.

    Args:
        task: ``classify`` (logits (N, C), targets int64 (N,)), ``multilabel`` (targets (N, C) of 0 and 1; a label
            counts as predicted above probability 0.5), or ``regress`` (logits and targets (N, D)).
        outputs: of a whole data set.

    Returns:
        Name -> value, ``loss`` first. Balanced accuracy (mean recall) and mean average precision are over the classes
        that the data shows, F1 over those that it shows or the model names; R2 over the columns that vary.
    """
    found = {"loss": outputs.loss}
    if task == "classify":
        return found | _of_classes(outputs.logits, outputs.targets)
    if task == "multilabel":
        return found | _of_labels(outputs.logits.sigmoid(), outputs.targets.long())
    return found | _of_numbers(outputs.logits.reshape(len(outputs.logits), -1), outputs.targets)


def _of_classes(logits: Tensor, target: Tensor) -> dict[str, float]:
    classes = logits.shape[1]
    predicted = logits.argmax(1)
    hits = (target[predicted == target]).bincount(minlength=classes).double()
    support, claimed = (labels.bincount(minlength=classes).double() for labels in (target, predicted))
    seen = support + claimed > 0
    values = {
        "accuracy": hits.sum() / len(target),
        "balanced_accuracy": (hits / support)[support > 0].mean(),
        "f1": (2 * hits / (support + claimed))[seen].mean(),
    }
    if classes > 5:
        values["top5"] = (logits.topk(5).indices == target[:, None]).any(1).double().mean()
    return {name: float(value) for name, value in values.items()}


def _of_labels(probs: Tensor, target: Tensor) -> dict[str, float]:
    truth, predicted = target.bool(), probs > 0.5
    hits, both = (truth & predicted).sum(0).double(), (truth.sum(0) + predicted.sum(0)).double()
    shown = [label for label in range(probs.shape[1]) if truth[:, label].any()]
    precision = [_average_precision(probs[:, label], truth[:, label]) for label in shown]
    return {
        "map": sum(precision) / len(precision) if precision else math.nan,
        "f1": float((2 * hits / both.clamp(min=1)).mean()),
        "exact_match": float((truth == predicted).all(1).double().mean()),
    }


def _average_precision(probs: Tensor, truth: Tensor) -> float:
    """``sum_n (R_n - R_(n-1)) P_n`` over the thresholds n: every probability that occurs, from the largest down."""
    order = probs.argsort(descending=True)
    ranked = probs[order]
    is_last = torch.cat([ranked[1:] != ranked[:-1], torch.ones(1, dtype=torch.bool)])  # of those that are equal
    hits = truth[order].cumsum(0)[is_last].double()
    precision = hits / (is_last.nonzero()[:, 0] + 1)
    recall = hits / hits[-1]
    return float((torch.diff(recall, prepend=torch.zeros(1, dtype=torch.float64)) * precision).sum())


def _of_numbers(predicted: Tensor, target: Tensor) -> dict[str, float]:
    target = target.reshape(predicted.shape).double()
    error = predicted.double() - target
    spread = (target - target.mean(0)).square().sum(0)
    explained = 1 - (error.square().sum(0) / spread)[spread > 0]
    return {
        "mae": float(error.abs().mean()),
        "rmse": float(error.square().mean().sqrt()),
        "r2": float(explained.mean()) if len(explained) else math.nan,
    }
