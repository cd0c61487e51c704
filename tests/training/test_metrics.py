"""Metrics against torchmetrics and scikit-learn, on data with gaps: absent classes, ties, single labels, constants."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from sklearn import metrics as sk
from torch import Tensor

from hone.training import METRICS, Outputs, check_metric, is_better, measure


def outputs(logits: Tensor, targets: Tensor) -> Outputs:
    return Outputs(logits, targets, torch.arange(len(targets)), 0.25)


def random_classes(seed: int, classes: int, shown: int, n: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, classes, generator=generator), torch.randint(0, shown, (n,), generator=generator)


@pytest.mark.parametrize(("classes", "shown"), [(2, 2), (3, 3), (5, 3), (8, 6)])
def test_classes_as_scikit_learn_has_them(classes: int, shown: int) -> None:
    logits, target = random_classes(classes, classes, shown)
    found, predicted = measure("classify", outputs(logits, target)), logits.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "accuracy": sk.accuracy_score(target, predicted),
            "balanced_accuracy": sk.balanced_accuracy_score(target, predicted),
            "f1": sk.f1_score(target, predicted, average="macro", zero_division=0),
        }
    if classes > 5:
        expected["top5"] = sk.top_k_accuracy_score(target, logits, k=5, labels=range(classes))
    assert found == pytest.approx({"loss": 0.25, **expected})


def test_classes_as_torchmetrics_has_them_where_all_are_shown() -> None:
    from torchmetrics.functional import classification as of_classes

    logits, target = random_classes(0, 7, 7, n=200)
    found = measure("classify", outputs(logits, target))
    for name, function in (("balanced_accuracy", of_classes.multiclass_recall), ("f1", of_classes.multiclass_f1_score)):
        assert found[name] == pytest.approx(float(function(logits, target, 7, average="macro")))


@pytest.mark.parametrize("labels", [1, 2, 4])
def test_labels_as_scikit_learn_has_them(labels: int) -> None:
    generator = torch.Generator().manual_seed(labels)
    logits = torch.randint(-3, 4, (50, labels), generator=generator) / 2 + 0.25  # many ties
    target = torch.randint(0, 2, (50, labels), generator=generator).float()
    found, truth = measure("multilabel", outputs(logits, target)), target.bool().numpy()
    columns = range(labels)
    precision = [sk.average_precision_score(truth[:, c], logits[:, c].sigmoid().numpy()) for c in columns]
    f1 = [sk.f1_score(truth[:, c], (logits[:, c] > 0).numpy()) for c in columns]
    assert found["map"] == pytest.approx(sum(precision) / labels)
    assert found["f1"] == pytest.approx(sum(f1) / labels)
    assert found["exact_match"] == pytest.approx(((logits > 0).numpy() == truth).all(1).mean())


def test_a_label_that_is_never_shown_has_no_average_precision() -> None:
    logits, target = torch.tensor([[2.0, -1.0], [-1.0, -2.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert measure("multilabel", outputs(logits, target))["map"] == 1.0
    assert math.isnan(measure("multilabel", outputs(logits, target * 0))["map"])


@pytest.mark.parametrize("width", [1, 3])
def test_numbers_as_scikit_learn_has_them(width: int) -> None:
    generator = torch.Generator().manual_seed(width)
    target = torch.randn(30, width, generator=generator, dtype=torch.float64)
    predicted = target + torch.randn(30, width, generator=generator, dtype=torch.float64)
    found = measure("regress", outputs(predicted, target.squeeze(1) if width == 1 else target))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(target, predicted), rel=1e-6)
    assert found["rmse"] == pytest.approx(math.sqrt(sk.mean_squared_error(target, predicted)), rel=1e-6)
    assert found["r2"] == pytest.approx(sk.r2_score(target, predicted), rel=1e-6)


def test_constant_targets_have_no_r2() -> None:
    assert math.isnan(measure("regress", outputs(torch.randn(5, 1), torch.ones(5)))["r2"])
    assert math.isnan(measure("regress", outputs(torch.randn(1, 1), torch.ones(1)))["r2"])


def test_an_error_of_one_sample_is_seen() -> None:
    """The comparisons above can fail."""
    logits, target = random_classes(1, 3, 3)
    changed = target.clone()
    right = (logits.argmax(1) == target).nonzero()[0]
    changed[right] = (changed[right] + 1) % 3
    a, b = (measure("classify", outputs(logits, labels)) for labels in (target, changed))
    assert all(a[name] != b[name] for name in ("accuracy", "balanced_accuracy", "f1"))


def test_better() -> None:
    assert is_better("accuracy", 0.1, None) and not is_better("accuracy", math.nan, None)
    assert is_better("rmse", 1.0, 2.0) and not is_better("rmse", 2.0, 2.0)
    assert {task: check_metric(task, None) for task in METRICS} == {
        "classify": "accuracy", "multilabel": "map", "regress": "mae",
        "segment": "dice", "segment-volume": "mean_dice",
        "classify-volume": "accuracy", "classify-video": "accuracy",
    }  # fmt: skip
    with pytest.raises(ValueError, match="did you mean"):
        check_metric("regress", "rmsee")
