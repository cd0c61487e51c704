"""The linear probe: an output layer fitted in closed form to the features that the source network already gives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hone import checks
from hone.transfer.closed_form import explained_by_logistic, explained_by_ridge, logistic, ridge
from hone.transfer.heads import find_head

#: What a linear layer can be fitted to in closed form.
TASKS = ("classify", "classify-video", "multilabel", "regress")


def head_features(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor, Any]]) -> tuple[Tensor, Tensor]:
    """What reaches the output layer, for every sample, without gradients.

    Args:
        model: on its device; put in eval mode.
        batches: ``(inputs, target, anything)``.

    Returns:
        Features (N, F) float32 and targets (N, ...), on the host.

    Raises:
        ValueError: the head is no linear layer on vectors.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> features, target = head_features(model, [(torch.randn(5, 4), torch.zeros(5), None)])
        >>> features.shape
        torch.Size([5, 8])
    """
    layer = find_head(model)[0].layer
    if not isinstance(layer, nn.Linear):
        raise checks.invalid("the output layer", "be a linear layer for a probe", type(layer).__name__)
    seen: list[Tensor] = []
    targets: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().float().cpu()))
    model.eval()
    try:
        with torch.inference_mode():
            for inputs, target, *_ in batches:
                model(inputs)
                targets.append(target.cpu())
    finally:
        hook.remove()
    # Several views of a sample (clips and crops of a video) count as one: their mean.
    means = (part.view(len(target), -1, part.shape[-1]).mean(1) for part, target in zip(seen, targets, strict=True))
    features = torch.cat(list(means) if all(part.ndim == 2 for part in seen) else seen)
    if features.ndim != 2:
        raise checks.invalid("the output layer's input", "be one vector a sample for a probe", tuple(features.shape))
    return features.clone(), torch.cat(targets)


def fit_probe(
    features: Tensor, target: Tensor, num_classes: int, *, task: str = "classify", independent: int | None = None
) -> tuple[Tensor, Tensor]:
    """The output layer that fits fixed features best, its penalty by cross-validation where that is affordable.

    One class a sample: L2 logistic regression; several labels: one such regression a label; numbers: ridge regression.
    See :mod:`hone.transfer.closed_form`.

    Args:
        features: (N, F).
        target: classify: (N,) int64 in [0, num_classes), every class among them; multilabel: (N, num_classes) of 0 and
            1; regress: (N,) or (N, num_classes) float.
        num_classes: outputs of the layer: classes (at least 2), labels, or values.
        task: "classify", "multilabel" or "regress".
        independent: samples from this one on are further views of those before; the penalty is chosen without them.

    Returns:
        Weight (num_classes, F) and bias (num_classes,), float32.

    Raises:
        ValueError: a class has no sample.

    Example:
        >>> features = torch.tensor([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]])
        >>> weight, bias = fit_probe(features, torch.tensor([0, 0, 1, 1]), 2)
        >>> (features @ weight.T + bias).argmax(1).tolist()
        [0, 0, 1, 1]

    Reference:
        Kornblith, Shlens and Le, "Do Better ImageNet Models Transfer Better?", CVPR 2019, section 3 (the probe).
    """
    if checks.one_of("task", task, TASKS) == "regress":
        return ridge(features, target, independent=independent)
    if task.startswith("classify"):
        counts = torch.bincount(target, minlength=num_classes)
        if len(counts) != num_classes or not bool((counts > 0).all()):
            raise checks.invalid("target", f"hold every class from 0 to {num_classes - 1}", counts.tolist())
    return logistic(features, target, independent=independent)


def explained(features: Tensor, target: Tensor, *, task: str = "classify") -> float | None:
    """What share of the target a probe explains on samples that it was not fitted to: what the source already knows.

    Of the entropy for classes and labels (five folds), of the variance for numbers (leaving one out).

    Args:
        features: (N, F).
        target: as :func:`fit_probe` takes it.
        task: "classify", "multilabel" or "regress".

    Returns:
        At most 1; 0 or below where the features say nothing. None where a class has fewer than 5 samples, or the target
        does not vary.

    Example:
        >>> features = torch.linspace(-1, 1, 40)[:, None]
        >>> explained(features, features[:, 0].sign().clamp(min=0).long()) > 0.5
        True
    """
    if checks.one_of("task", task, TASKS) == "regress":
        return explained_by_ridge(features, target)
    return explained_by_logistic(features, target)


def can_probe(model: nn.Module, task: str) -> bool:
    """Whether a probe can start this model's output layer: one linear layer, and a task that has a closed form.

    Example:
        >>> can_probe(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), "classify")
        True
    """
    heads = find_head(model)
    return task in TASKS and len(heads) == 1 and isinstance(heads[0].layer, nn.Linear)
