"""One pass over a data set without gradients, and the outputs it gave."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hone.precision import Precision
from hone.training.distributed import World
from hone.training.mirroring import Network, mirrored


@dataclass(frozen=True)
class Outputs:
    """What a model said of every sample, in the data set's order.

    Attributes:
        logits: (N, ...) float32; or what was kept instead of them.
        targets: (N, ...); (N, 0) where only a summary was kept.
        indices: (N,) int64, the sample's place in the data set.
        loss: mean of the criterion over all samples.
    """

    logits: Tensor
    targets: Tensor
    indices: Tensor
    loss: float


def _call(model: Network, inputs: Any) -> Tensor:
    logits: Tensor = model(inputs)
    return logits


@dataclass(frozen=True)
class Inference:
    """How a model's outputs come about in an evaluation, and what is kept of each of them.

    Args:
        infer: ``(model, inputs) -> logits``: the plain call, or windows over an input that is too large for one.
        summarize: ``(logits, target) -> (n, ...)``: what is kept of each sample where its logits are many, such as the
            voxels that each class shares with the truth. None keeps logits and targets.
    """

    infer: Callable[[Network, Any], Tensor] = _call
    summarize: Callable[[Tensor, Tensor], Tensor] | None = None

    def mirrored(self, axes: Sequence[int]) -> Inference:
        """The same, of the mean of the logits over inputs mirrored in every combination of some spatial axes."""

        def infer(model: Network, inputs: Any) -> Tensor:
            return self.infer(mirrored(model, axes), inputs)

        return dataclasses.replace(self, infer=infer)


def run_over(
    model: nn.Module,
    batches: Iterable[tuple[Any, Tensor, Tensor]],
    criterion: Callable[..., Tensor] | None,
    precision: Precision,
    world: World,
    inference: Inference = Inference(),
) -> Outputs:
    """Evaluate a model on every sample once, over all processes.

    The model is put in eval mode and left there. The loss is the criterion's mean over each batch, weighted by the
    batch's valid weight where the criterion has one, else by its size.

    Args:
        model: on its device.
        batches: ``(inputs, target, indices)``; together the processes' batches hold each sample once.
        criterion: the loss to report; None reports NaN.
        precision: for autocast.
        world: the processes that share the work.
        inference: how outputs come about, and what is kept of them.

    Returns:
        The outputs of all processes, on every process.
    """
    model.eval()
    world.share_buffers(model)
    weigh = getattr(criterion, "valid_weight", None)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    sums = torch.zeros(2, dtype=torch.float64)
    with torch.inference_mode():
        for inputs, target, indices in batches:
            with precision.autocast():
                logits = inference.infer(model, inputs)
                loss = criterion(logits, target) if criterion is not None else logits.new_zeros(())
            weight = float(weigh(target)) if weigh is not None else float(len(target))
            sums += torch.tensor([float(loss) * weight, weight], dtype=torch.float64)
            if inference.summarize is not None:
                logits, target = inference.summarize(logits, target), target.new_empty(len(target), 0)
            kept = logits if logits.dtype == torch.float64 else logits.float()
            found.append((kept.cpu(), target.cpu(), indices.cpu()))
    parts = [part for part in world.gather((_joined(found), sums)) if part[0] is not None]
    logits, targets, indices = (torch.cat([torch.from_numpy(part[0][i]) for part in parts]) for i in range(3))
    loss_sum, weight_sum = (sum(float(part[1][i]) for part in parts) for i in range(2))
    order = torch.argsort(indices)
    mean = loss_sum / weight_sum if criterion is not None and weight_sum else float("nan")
    return Outputs(logits[order], targets[order], indices[order], mean)


def _joined(found: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[np.ndarray[Any, Any], ...] | None:
    return tuple(torch.cat([row[i] for row in found]).numpy() for i in range(3)) if found else None
