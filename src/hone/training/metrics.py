"""Metrics by task, from scikit-learn: names as the command line and the run folder use them.

scikit-learn is loaded by the first evaluation, not by the import of the loop.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hone import checks
from hone.training.evaluate import Outputs
from hone.training.overlap_metrics import overlap_metrics

#: Task -> the metrics that it reports, its default first. ``loss`` is there for every task.
METRICS = {
    "classify": ("accuracy", "balanced_accuracy", "f1", "top5"),
    "multilabel": ("map", "f1", "exact_match"),
    "regress": ("mae", "rmse", "r2"),
    "segment": ("dice", "mean_dice", "iou"),
    "segment-volume": ("mean_dice", "dice", "iou"),
}
METRICS |= dict.fromkeys(("classify-volume", "classify-video"), METRICS["classify"])
_LOWER_IS_BETTER = {"loss", "mae", "rmse"}
#: Each sample is right or wrong.
_SHARES = {"accuracy", "top5", "exact_match"}


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


def standard_error(metric: str, value: float, count: int) -> float:
    r"""How far chance moves a metric that is a share of samples, :math:`\sqrt{p (1 - p) / n}`; 0 for other metrics.

    Args:
        metric: its name.
        value: the share, 0 .. 1.
        count: samples that it was measured on.

    Example:
        >>> round(standard_error("accuracy", 0.9, 100), 3), standard_error("mae", 0.9, 100)
        (0.03, 0.0)
    """
    return math.sqrt(value * (1 - value) / count) if metric in _SHARES and count else 0.0


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
        task: ``classify`` and its likes (logits (N, C), targets int64 (N,)), ``multilabel`` (targets (N, C) of 0 and 1;
            a label counts as predicted above probability 0.5), ``regress`` (logits and targets (N, D)), ``segment`` or
            ``segment-volume`` (in place of the logits the (N, classes, 3) counts of ``overlap_metrics``).
        outputs: of a whole data set.

    Returns:
        Name -> value, ``loss`` first. Balanced accuracy (mean recall) and mean average precision are over the classes
        that the data shows, F1 over those that it shows or the model names; R2 over the columns that vary.
    """
    found = {"loss": outputs.loss}
    if task.startswith("classify"):
        return found | _of_classes(outputs.logits, outputs.targets)
    if task == "multilabel":
        return found | _of_labels(outputs.logits.sigmoid(), outputs.targets.long())
    if task.startswith("segment"):
        return found | overlap_metrics(outputs.logits)
    return found | _of_numbers(outputs.logits.reshape(len(outputs.logits), -1), outputs.targets)


def _of_classes(logits: Tensor, target: Tensor) -> dict[str, float]:
    # Counted here: scikit-learn's import takes longer than the whole second run of a probe.
    count, predicted = logits.shape[1], logits.argmax(1)
    confusion = torch.bincount(target * count + predicted, minlength=count**2).view(count, count).double()
    hits, support, claimed = confusion.diag(), confusion.sum(1), confusion.sum(0)
    shown, named = support > 0, support + claimed > 0
    found = {
        "accuracy": hits.sum() / len(target),
        "balanced_accuracy": (hits / support)[shown].mean(),
        "f1": (2 * hits / (support + claimed))[named].mean(),
    }
    if count > 5:
        found["top5"] = (logits.topk(5).indices == target[:, None]).any(1).double().mean()
    return {name: float(value) for name, value in found.items()}


def _of_labels(probs: Tensor, target: Tensor) -> dict[str, float]:
    from sklearn import metrics

    truth, predicted = target.numpy(), (probs > 0.5).long().numpy()
    shown = target.any(0).numpy()
    # Label by label: scikit-learn takes a single column for two classes.
    f1 = [float(metrics.f1_score(t, p, zero_division=0.0)) for t, p in zip(truth.T, predicted.T, strict=True)]
    return {
        "map": float(metrics.average_precision_score(truth[:, shown], probs.numpy()[:, shown]))
        if shown.any()
        else math.nan,
        "f1": sum(f1) / len(f1),
        "exact_match": float(metrics.accuracy_score(truth, predicted)),
    }


def _of_numbers(predicted: Tensor, target: Tensor) -> dict[str, float]:
    from sklearn import metrics

    guess, truth = predicted.double().numpy(), target.reshape(predicted.shape).double().numpy()
    varies = (truth != truth[:1]).any(0)
    return {
        "mae": float(metrics.mean_absolute_error(truth, guess)),
        "rmse": float(metrics.mean_squared_error(truth, guess)) ** 0.5,
        "r2": float(metrics.r2_score(truth[:, varies], guess[:, varies])) if varies.any() else math.nan,
    }
