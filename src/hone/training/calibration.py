"""How well a classifier tells its classes apart, however sure of itself it is."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from hone.training.evaluate import Outputs

#: Temperatures between which the best is looked for. Where all is right, the best is 0, which says nothing.
_BOUNDS = (0.5, 20.0)


def calibrated_loss(task: str, outputs: Outputs) -> float:
    r"""The negative log-likelihood, nats, at the temperature that suits the outputs best.

    .. math:: \min_T \frac{1}{N} \sum_i -\log \operatorname{softmax}(z_i / T)_{y_i}

    One temperature for all samples changes no prediction. So this compares weights of different ages, which differ in
    how sure they are, by what accuracy depends on, and with less chance in it than the share of right answers has.
    Labels that don't exclude each other have the sigmoid in place of the softmax.

    Args:
        task: ``classify`` and its likes (logits (N, C), targets int64 (N,)), or ``multilabel`` (targets (N, C) of 0 and
            1). Any other task has no temperature: its own loss is given back.
        outputs: of a whole data set.

    Returns:
        The loss with :math:`0.5 \le T \le 20`; infinity where a logit is not finite.

    Example:
        >>> logits, targets = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0, 1, 1])
        >>> outputs = Outputs(logits, targets, torch.arange(4), loss=0.627)
        >>> surer = Outputs(10 * logits, targets, torch.arange(4), loss=5.0)
        >>> round(calibrated_loss("classify", outputs), 4), round(calibrated_loss("classify", surer), 4)
        (0.5623, 0.5623)

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
    """
    if not (task.startswith("classify") or task == "multilabel"):
        return outputs.loss
    from scipy.optimize import minimize_scalar

    logits = outputs.logits.double()
    if not bool(torch.isfinite(logits).all()):
        return math.inf

    def loss(log_temperature: float) -> float:
        scaled = logits * math.exp(-log_temperature)
        if task == "multilabel":
            return float(F.binary_cross_entropy_with_logits(scaled, outputs.targets.double()))
        return float(F.cross_entropy(scaled, outputs.targets))

    bounds = [math.log(bound) for bound in _BOUNDS]
    return float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).fun)
