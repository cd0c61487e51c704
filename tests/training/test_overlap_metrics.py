"""Dice and IoU against MONAI and torchmetrics, with absent classes and ignored voxels."""

from __future__ import annotations

import math

import pytest
import torch
from monai.metrics import DiceMetric
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.functional.classification import multiclass_jaccard_index, multilabel_jaccard_index
from torchmetrics.functional.segmentation import dice_score

from hone.training import (
    Outputs,
    check_metric,
    dice_scores,
    index_counts,
    iou_scores,
    label_counts,
    measure,
    overlap_counts,
    overlap_metrics,
)


def example(classes: int, shown: int, spatial: tuple[int, ...] = (12, 9), n: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(n, classes, *spatial, generator=generator)
    target = torch.randint(0, shown, (n, *spatial), generator=generator)
    return logits + 1.5 * one_hot(target, classes).movedim(-1, 1), target


def hot(indices: Tensor, classes: int) -> Tensor:
    return one_hot(indices, classes).movedim(-1, 1)


@pytest.mark.parametrize("spatial", [(12, 9), (6, 7, 5)])
@pytest.mark.parametrize("background", [False, True])
def test_pooled_dice_and_iou_as_torchmetrics_has_them(spatial: tuple[int, ...], background: bool) -> None:
    logits, target = example(4, 4, spatial)
    counts = overlap_counts(logits, target, background=background)
    predicted = logits.argmax(1)
    dice = dice_score(
        predicted, target, 4, include_background=background, input_format="index", aggregation_level="global"
    )
    iou = multiclass_jaccard_index(predicted, target, 4, average="none")[0 if background else 1 :]
    found = overlap_metrics(counts)
    assert found["dice"] == pytest.approx(float(dice))
    assert iou_scores(counts.sum(0)).tolist() == pytest.approx(iou.tolist())
    assert found["iou"] == pytest.approx(float(iou.mean()))


@pytest.mark.parametrize("spatial", [(12, 9), (6, 7, 5)])
def test_mean_dice_as_monai_has_it_where_the_truth_shows_every_class(spatial: tuple[int, ...]) -> None:
    logits, target = example(4, 4, spatial)
    metric = DiceMetric(include_background=False, reduction="mean_batch")
    metric(hot(logits.argmax(1), 4), hot(target, 4))
    found = overlap_metrics(overlap_counts(logits, target))
    assert found["mean_dice"] == pytest.approx(float(metric.aggregate().mean()))


def test_absent_classes() -> None:
    """A class that is nowhere is left out; one that is predicted where there is none scores 0 there."""
    target = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 0]], [[2, 2, 0, 0]]])
    predicted = torch.tensor([[[1, 1, 0, 0]], [[1, 0, 0, 0]], [[2, 0, 0, 0]]])
    counts = index_counts(predicted, target, 4)
    cases = dice_scores(counts)
    monai = DiceMetric(include_background=False, reduction="none", ignore_empty=False)(
        hot(predicted, 4), hot(target, 4)
    )
    nowhere = (hot(predicted, 4) + hot(target, 4)).flatten(2).sum(2)[:, 1:] == 0
    torch.testing.assert_close(cases, monai.double().masked_fill(nowhere, math.nan), equal_nan=True)
    found = overlap_metrics(counts)
    assert found["mean_dice"] == pytest.approx(((1 + 0) / 2 + 2 / 3) / 2)
    assert found["dice"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert found["iou"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_nothing_but_background_is_not_a_number() -> None:
    counts = index_counts(torch.zeros(2, 4, dtype=torch.long), torch.zeros(2, 4, dtype=torch.long), 3)
    assert all(math.isnan(value) for value in overlap_metrics(counts).values())


def test_ignored_voxels_count_nowhere() -> None:
    logits, target = example(3, 3)
    kept = torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) > 0.3
    found = overlap_counts(logits, target.masked_fill(~kept, 255), ignore_index=255)
    for n in range(len(target)):
        alone = overlap_counts(
            logits[n].movedim(0, -1)[kept[n]].T.unsqueeze(0), target[n][kept[n]].unsqueeze(0), background=False
        )
        assert torch.equal(found[n], alone[0])
    assert not torch.equal(found, overlap_counts(logits, target))


def test_counts_of_slabs_add_up() -> None:
    logits, target = example(3, 3, (8, 6, 5))
    parts = [overlap_counts(logits[:, :, k : k + 2], target[:, k : k + 2]) for k in range(0, 8, 2)]
    assert torch.equal(sum(parts), overlap_counts(logits, target))  # type: ignore[arg-type]


def test_labels_as_torchmetrics_has_them() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(5, 3, 12, 9, generator=generator)
    target = (torch.rand(5, 3, 12, 9, generator=generator) > 0.6).to(torch.uint8)
    counts = label_counts(logits, target)
    iou = multilabel_jaccard_index(logits.sigmoid(), target.long(), 3, average="none")
    assert iou_scores(counts.sum(0)).tolist() == pytest.approx(iou.tolist())
    monai = DiceMetric(reduction="none", num_classes=3)((logits > 0).float(), target.float())
    assert dice_scores(counts).flatten().tolist() == pytest.approx(monai.flatten().tolist())


def test_ignored_labels_count_nowhere() -> None:
    generator = torch.Generator().manual_seed(3)
    logits, target = torch.randn(2, 3, 6, 4, generator=generator), torch.ones(2, 3, 6, 4)
    valid = torch.rand(2, 6, 4, generator=generator) > 0.5
    counts = label_counts(logits, target, valid=valid)
    assert counts[:, :, 2].tolist() == [[float(valid[n].sum())] * 3 for n in range(2)]
    assert torch.equal(counts, label_counts(logits, target, valid=valid.unsqueeze(1).expand(2, 3, 6, 4)))


@pytest.mark.parametrize(("task", "first"), [("segment", "dice"), ("segment-volume", "mean_dice")])
def test_both_tasks_are_measured_from_counts(task: str, first: str) -> None:
    logits, target = example(3, 3)
    counts = overlap_counts(logits, target)
    found = measure(task, Outputs(counts, torch.zeros(5), torch.arange(5), 0.25))
    assert found == {"loss": 0.25, **overlap_metrics(counts)}
    assert check_metric(task, None) == first
