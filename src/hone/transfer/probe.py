"""The linear probe: an output layer fitted in closed form to the features that the source network already gives."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hone import checks
from hone.transfer.heads import find_head

#: The inverse penalties that cross-validation chooses from; below so many samples a class there are too few folds.
_INVERSE_PENALTIES = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
_USUAL_INVERSE_PENALTY = 1e-2
_FOLDS = 5
#: Above so many numbers in the features the penalty is not searched for: one fit takes long enough.
_SEARCHED_BELOW = 4_000_000


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
    features = torch.cat(seen)
    if features.ndim != 2:
        raise checks.invalid("the output layer's input", "be one vector a sample for a probe", tuple(features.shape))
    return features.clone(), torch.cat(targets)


def fit_probe(features: Tensor, target: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    r"""L2 logistic regression from features to classes, the penalty by cross-validation where that is affordable.

    With standardised features :math:`z = (x - \mu) / \sigma` it minimises

    .. math:: C \sum_i -\log \mathrm{softmax}(V z_i + c)_{t_i} + \tfrac12 \lVert V \rVert^2,

    and returns the layer for :math:`x`: :math:`W = V / \sigma`, :math:`b = c - W \mu`.

    Args:
        features: (N, F).
        target: (N,) int64 in [0, num_classes); every class must occur.
        num_classes: at least 2.

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
    counts = torch.bincount(target, minlength=num_classes)
    if len(counts) != num_classes or not bool((counts > 0).all()):
        raise checks.invalid("target", f"hold every class from 0 to {num_classes - 1}", counts.tolist())
    x, mean, scale = _standardized(features)
    weight, bias = _regress(x, target.numpy(), int(counts.min()))
    weight = weight / scale
    return torch.from_numpy(weight).float(), torch.from_numpy(bias - weight @ mean).float()


def can_probe(model: nn.Module, task: str) -> bool:
    """Whether a probe can start this model's output layer: one linear layer, and one class a sample.

    Example:
        >>> can_probe(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), "classify")
        True
    """
    heads = find_head(model)
    return task == "classify" and len(heads) == 1 and isinstance(heads[0].layer, nn.Linear)


def _standardized(features: Tensor) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    x = features.double().numpy()
    mean, scale = x.mean(0), x.std(0)
    scale = np.where(scale > 1e-6 * scale.max(initial=0.0), scale, 1.0)
    return (x - mean) / scale, mean, scale


def _regress(
    x: np.ndarray[Any, Any], target: np.ndarray[Any, Any], fewest: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Weight (C, F) and bias (C,) of the regression; two classes as two rows that differ in sign."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from threadpoolctl import threadpool_limits

    model: Any = LogisticRegression(C=_USUAL_INVERSE_PENALTY, max_iter=200, tol=1e-4)
    # One thread: problems of this size are slower on several, and far slower where others want the processor too.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged within max_iter is good enough for a start
        if fewest >= _FOLDS and x.size < _SEARCHED_BELOW:
            folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
            grid = {"C": list(_INVERSE_PENALTIES)}
            model = GridSearchCV(model, grid, cv=folds, scoring="neg_log_loss").fit(x, target).best_estimator_
        else:
            model.fit(x, target)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:
        return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias
