"""Fill a `Result` from what training has at hand: counts, scores, the worst mistakes, the machine."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from hone.checks import integer, invalid

from .result import MAX_MISTAKES, MAX_PREDICTIONS, ClassScore, Machine, Mistake, Predictions

#: Whose versions decide what a run does.
PACKAGES = ("torch-hone", "torch", "torchvision", "timm", "numpy")


def confusion_counts(truth: Sequence[int], predicted: Sequence[int], num_classes: int) -> list[list[int]]:
    """Count every pair of true and predicted class: ``counts[t][p] = #{i : truth_i = t, predicted_i = p}``.

    Args:
        truth: class index of each sample, in [0, num_classes).
        predicted: class index predicted for it.
        num_classes: C.

    Returns:
        C rows (truth) of C counts (predicted).

    Raises:
        ValueError: the lengths differ, or an index is out of range.

    Example:
        >>> confusion_counts([0, 0, 1], [0, 1, 1], 2)
        [[1, 1], [0, 1]]
    """
    integer("num_classes", num_classes, at_least=1)
    if len(truth) != len(predicted):
        raise invalid("predicted", f"have {len(truth)} entries, one a sample", len(predicted))
    counts = [[0] * num_classes for _ in range(num_classes)]
    for true, guess in zip(truth, predicted, strict=True):
        if not (0 <= true < num_classes and 0 <= guess < num_classes):
            raise invalid("truth and predicted", f"be class indices below {num_classes}", (true, guess))
        counts[true][guess] += 1
    return counts


def class_scores(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> list[ClassScore]:
    """Precision, recall and F1 of every class from a confusion matrix.

    Args:
        confusion: counts[truth][predicted], C x C.
        classes: C names.

    Raises:
        ValueError: there are not as many names as rows.

    Example:
        >>> [score] = class_scores([[3, 1], [1, 5]], ["daisy", "rose"])[:1]
        >>> score.precision, score.recall, score.support
        (0.75, 0.75, 4)
    """
    if len(classes) != len(confusion):
        raise invalid("classes", f"hold {len(confusion)} names, one a row of the confusion matrix", list(classes))
    return [
        score(name, hits=row[i], claimed=sum(other[i] for other in confusion), support=sum(row))
        for i, (name, row) in enumerate(zip(classes, confusion, strict=True))
    ]


def score(name: str, *, hits: int, claimed: int, support: int) -> ClassScore:
    """The score of one class or label from three counts.

    Args:
        name: of the class.
        hits: true positives.
        claimed: samples for which it was predicted.
        support: samples that truly have it.

    Example:
        >>> score("rose", hits=5, claimed=10, support=5).f1
        0.6666666666666666
    """
    return ClassScore(
        name,
        precision=hits / claimed if claimed else math.nan,
        recall=hits / support if support else math.nan,
        f1=2 * hits / (claimed + support) if claimed + support else math.nan,
        support=support,
    )


def most_wrong(mistakes: Iterable[Mistake], limit: int = MAX_MISTAKES) -> list[Mistake]:
    """The mistakes that were made with the most confidence, the most confident first.

    Example:
        >>> rows = [Mistake("a.jpg", "rose", "tulip", 0.6), Mistake("b.jpg", "tulip", "rose", 0.9)]
        >>> [row.path for row in most_wrong(rows, limit=1)]
        ['b.jpg']
    """
    return sorted(mistakes, key=lambda row: -row.confidence)[:limit]


def sample_predictions(truth: Sequence[float], predicted: Sequence[float], limit: int = MAX_PREDICTIONS) -> Predictions:
    """Keep at most ``limit`` pairs of a regression, evenly spread over the order they came in.

    Example:
        >>> sample_predictions([1.0, 2.0, 3.0, 4.0], [1.5, 2.5, 3.5, 4.5], limit=2)
        Predictions(truth=[1.0, 3.0], predicted=[1.5, 3.5])
    """
    n = len(truth)
    kept = range(n) if n <= limit else [i * n // limit for i in range(limit)]
    pairs = Predictions(list(truth), list(predicted))
    return Predictions([float(pairs.truth[i]) for i in kept], [float(pairs.predicted[i]) for i in kept])


def machine_facts(device: str = "") -> Machine:
    """This machine and the versions of what decides a run.

    Args:
        device: what the run computed on, such as "NVIDIA H100 80GB HBM3"; empty means the processor, looked up.

    Example:
        >>> machine_facts("NVIDIA T4").device
        'NVIDIA T4'
    """
    return Machine(
        device=device or _processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        platform=platform.platform(terse=True),
        python=platform.python_version(),
        versions={name: version for name in PACKAGES if (version := _version(name))},
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
