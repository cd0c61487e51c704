"""result.json: written, read back, refused where it is not of the form."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from hone.report import (
    Best,
    Case,
    ClassScore,
    Mistake,
    Predictions,
    Result,
    class_scores,
    confusion_counts,
    machine_facts,
    most_wrong,
    sample_predictions,
)
from hone.report.result import MAX_PREDICTIONS


def test_a_full_result_survives_the_round_trip(run: Path) -> None:
    result = Result.read(run / "result.json")
    empty = Result(result.task, result.metric)
    unset = {f.name for f in dataclasses.fields(Result) if getattr(result, f.name) == getattr(empty, f.name)}
    # The made result sets every field but these, so that none is forgotten on the way.
    assert unset == {"task", "metric", "higher_is_better", "measured_on", "predictions", "cases", "interrupted"}
    full = dataclasses.replace(
        result,
        predictions=Predictions([1.0], [2.0]),
        cases=[Case("a.nii.gz", "worst", 0.25, {"liver": 0.25}, "cases/worst.png")],
        interrupted=True,
        higher_is_better=False,
        measured_on="test",
    )
    assert Result.from_json(full.to_json()) == full


def test_numbers_that_are_not_finite_become_null_and_nan_again() -> None:
    score = ClassScore("rose", math.nan, 0.5, math.nan, 3)
    result = Result("classify", "accuracy", best=Best(3, math.nan), final={"loss": math.inf}, per_class=[score])
    raw = json.loads(result.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert raw["final"]["loss"] is None
    back = Result.from_json(result.to_json())
    assert math.isnan(back.final["loss"]) and back.best is not None and math.isnan(back.best.value)
    assert back.per_class is not None and math.isnan(back.per_class[0].f1) and back.per_class[0].recall == 0.5


def test_keys_of_a_later_version_are_passed_over() -> None:
    raw = {"task": "regress", "metric": "mae", "of_the_future": 1, "best": {"update": 3, "value": 0.5, "more": 2}}
    assert Result.from_json(json.dumps(raw)).best == Best(3, 0.5)


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        '{"metric": "accuracy"}',
        '{"task": "dance", "metric": "accuracy"}',
        '{"task": "classify", "metric": "accuracy", "measured_on": "train"}',
        '{"task": "classify", "metric": "accuracy", "best": 3}',
        '{"task": "classify", "metric": "accuracy", "best": {"update": 3}}',
        '{"task": "classify", "metric": "accuracy", "mistakes": 7}',
        '{"task": "classify", "metric": "accuracy", "updates": -1}',
        '{"task": "classify", "metric": "accuracy", "updates": "many"}',
        '{"task": "classify", "metric": "accuracy", "confusion": [[1, 2]]}',
        '{"task": "classify", "metric": "accuracy", "confusion": 3}',
        '{"task": "classify", "metric": "accuracy", "final": [1]}',
    ],
)
def test_what_is_not_of_the_form_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Result.from_json(text)


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    Result("classify", "accuracy").write(tmp_path / "result.json")
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_counts_and_scores_equal_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    truth, predicted = draw.integers(0, 5, 400), draw.integers(0, 4, 400)
    counts = confusion_counts(truth.tolist(), predicted.tolist(), 5)
    assert counts == confusion_matrix(truth, predicted, labels=range(5)).tolist()
    expected = precision_recall_fscore_support(truth, predicted, labels=range(5), zero_division=np.nan)
    scores = class_scores(counts, list("abcde"))
    for i, row in enumerate(scores):
        np.testing.assert_allclose(
            (row.precision, row.recall, row.support), [expected[k][i] for k in (0, 1, 3)], rtol=1e-12, equal_nan=True
        )
        # Its F1 of a class that was never predicted follows zero_division; ours is 2 TP / (2 TP + FP + FN).
        if i < 4:
            assert row.f1 == pytest.approx(expected[2][i], rel=1e-12)
    assert scores[4].f1 == 0.0 and math.isnan(scores[4].precision)


def test_a_transposed_matrix_would_be_noticed() -> None:
    counts = confusion_counts([0, 0, 1], [1, 1, 1], 2)
    assert counts == [[0, 2], [0, 1]] and counts != np.transpose(counts).tolist()


@pytest.mark.parametrize(("truth", "predicted"), [([0], [0, 1]), ([2], [0]), ([0], [-1])])
def test_counts_refuse_what_is_no_class(truth: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match=r"must"):
        confusion_counts(truth, predicted, 2)


def test_class_scores_need_a_name_a_row() -> None:
    with pytest.raises(ValueError, match="2 names"):
        class_scores([[1, 0], [0, 1]], ["rose"])


def test_the_worst_mistakes_come_first_and_are_bounded() -> None:
    rows = [Mistake(f"{i}.jpg", "a", "b", i / 100) for i in range(100)]
    kept = most_wrong(rows, limit=3)
    assert [row.confidence for row in kept] == [0.99, 0.98, 0.97]


def test_sampled_predictions_keep_their_pairs() -> None:
    truth = [float(i) for i in range(10_000)]
    pairs = sample_predictions(truth, [2 * value for value in truth])
    assert len(pairs.truth) == MAX_PREDICTIONS
    assert all(p == 2 * t for t, p in zip(pairs.truth, pairs.predicted, strict=True))
    with pytest.raises(ValueError, match="one a true value"):
        sample_predictions([1.0], [])


def test_machine_facts_name_what_decides_a_run() -> None:
    facts = machine_facts()
    assert facts.device and facts.cores >= 1 and facts.versions.keys() >= {"torch", "numpy"}
