"""How well a classifier tells its classes apart, however sure of itself it is."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hone.training.evaluate import Outputs

#: Temperatures between which the best is looked for. Where all is right, the best is 0, which says nothing.
_BOUNDS = (0.5, 20.0)


def calibrated_losses(task: str, outputs: Outputs) -> Tensor:
    r"""The negative log-likelihood of each sample, nats, at the temperature that suits all of them best.

    .. math:: \ell_i = -\log \operatorname{softmax}(z_i / T)_{y_i}, \qquad T = \arg\min_T \frac{1}{N} \sum_i \ell_i

    One temperature for all samples changes no prediction. So this compares weights of different ages, which differ in
    how sure they are, by what accuracy depends on, and with less chance in it than the share of right answers has.
    Labels that don't exclude each other have the sigmoid in place of the softmax, and a sample's loss is their mean.

    Args:
        task: ``classify`` and its likes (logits (N, C), targets int64 (N,)), or ``multilabel`` (targets (N, C) of 0 and
            1). Any other task has no temperature: its own loss is given back, one number.
        outputs: of a whole data set.

    Returns:
        (N,) float64 with :math:`0.5 \le T \le 20`; infinity where a logit is not finite.

    Example:
        >>> logits, targets = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0, 1, 1])
        >>> for sure in (1, 10):
        ...     outputs = Outputs(sure * logits, targets, torch.arange(4), loss=0.0)
        ...     print([round(loss, 3) for loss in calibrated_losses("classify", outputs).tolist()])
        [0.288, 0.288, 1.386, 0.288]
        [0.288, 0.288, 1.386, 0.288]

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
    """
    if not (task.startswith("classify") or task == "multilabel"):
        return torch.tensor([outputs.loss], dtype=torch.float64)
    from scipy.optimize import minimize_scalar

    logits = outputs.logits.double()
    if not bool(torch.isfinite(logits).all()):
        return torch.full((len(logits),), math.inf, dtype=torch.float64)

    def losses(log_temperature: float) -> Tensor:
        scaled = logits * math.exp(-log_temperature)
        if task == "multilabel":
            return F.binary_cross_entropy_with_logits(scaled, outputs.targets.double(), reduction="none").mean(1)
        return F.cross_entropy(scaled, outputs.targets, reduction="none")

    bounds = [math.log(bound) for bound in _BOUNDS]
    found = minimize_scalar(lambda x: float(losses(x).mean()), bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return losses(float(found.x))
