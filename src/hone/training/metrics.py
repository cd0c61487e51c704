"""Metrics by task, from torchmetrics: names as the command line and the run folder use them."""

from __future__ import annotations

import math

from torch import Tensor
from torchmetrics.functional import classification as of_classes
from torchmetrics.functional import regression as of_numbers

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
        Name -> value, ``loss`` first. F1 is the mean over the classes; balanced accuracy and mean average precision are
        means over those classes that the data shows.
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
    values = {
        "accuracy": (predicted == target).float().mean(),
        "balanced_accuracy": _recall(predicted, target, classes),
        "f1": of_classes.multiclass_f1_score(predicted, target, classes, average="macro"),
    }
    if classes > 5:
        values["top5"] = of_classes.multiclass_accuracy(logits, target, classes, average="micro", top_k=5)
    return {name: float(value) for name, value in values.items()}


def _recall(predicted: Tensor, target: Tensor, classes: int) -> Tensor:
    """The mean recall of the classes that the data shows: of one that it does not show there is none."""
    recall: Tensor = of_classes.multiclass_recall(predicted, target, classes, average="none")
    return recall[target.bincount(minlength=classes) > 0].mean()


def _of_labels(probs: Tensor, target: Tensor) -> dict[str, float]:
    columns = range(probs.shape[1])
    shown = [c for c in columns if target[:, c].any()]  # a label that the data never shows has no average precision
    precision = [float(of_classes.binary_average_precision(probs[:, c], target[:, c])) for c in shown]
    f1 = [float(of_classes.binary_f1_score(probs[:, c], target[:, c])) for c in columns]
    return {
        "map": sum(precision) / len(precision) if precision else math.nan,
        "f1": sum(f1) / len(f1),
        "exact_match": float(((probs > 0.5) == target.bool()).all(1).float().mean()),
    }


def _of_numbers(predicted: Tensor, target: Tensor) -> dict[str, float]:
    target = target.reshape(predicted.shape).float()
    varies = len(target) > 1 and bool(target.var() > 0)
    return {
        "mae": float(of_numbers.mean_absolute_error(predicted, target)),
        "rmse": float(of_numbers.mean_squared_error(predicted, target, squared=False)),
        "r2": float(of_numbers.r2_score(predicted, target)) if varies else math.nan,
    }
