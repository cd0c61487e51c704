"""A network over an input larger than it takes at once: overlapping windows, blended by weights.

The windows stand on a grid: along each axis every ``window * (1 - overlap)`` voxels, the last one moved back so that it
ends with the input. With ``f_k`` the network's logits of window ``k`` and ``w`` the weight of a place in a window,

    logits(x) = sum_k w(x - k) f_k(x) / sum_k w(x - k)

Windows are taken in the order of their place on the first spatial axis, so what lies before the next window is
finished: it can be handed out (``sliding_slabs``) while only a window's depth of sums is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, product

import torch
from torch import Tensor

from hone import checks
from hone.training.mirroring import mirrored
from hone.training.window_grid import Grid, blend_weights

Network = Callable[[Tensor], Tensor]


def sliding_window(
    model: Network,
    inputs: Tensor,
    window: Sequence[int],
    *,
    overlap: float | None = None,
    weights: str = "gaussian",
    batch_size: int = 4,
    flips: Sequence[int] = (),
    device: torch.device | None = None,
) -> Tensor:
    """The network's logits of a whole input, window by window.

    Args:
        model: ``(n, channels, *window) -> (n, C, *window)``; autocast and inference mode are the caller's.
        inputs: (N, channels, *spatial), of any number of spatial axes.
        window: size of a window along each spatial axis, voxels; a smaller input is padded with 0 on both sides.
        overlap: share of a window that the next one covers too, in [0, 1); None: 0.25 in 2D, else 0.5.
        weights: "gaussian" (the middle of a window counts most; sigma an eighth of the window) or "constant".
        batch_size: windows at a time.
        flips: spatial axes; the mean over the windows mirrored in every combination of them is taken.
        device: where the model is; None: where the inputs are. The result is where the inputs are.

    Returns:
        (N, C, *spatial) logits, float32 or the inputs' wider dtype.

    Raises:
        ValueError: an argument is out of its range, or the network's output has another size than its window.

    Example:
        >>> sliding_window(lambda x: 2 * x, torch.ones(1, 1, 50, 70), (32, 32)).shape
        torch.Size([1, 1, 50, 70])
    """
    task = _Sliding.of(model, inputs, window, overlap, weights, batch_size, flips, device)
    total: Tensor | None = None
    for sample, place, logits in task.outputs():
        if total is None:
            total = task.sums(logits, task.grid.size[0]).to(inputs.device)
        task.add(total, sample, place, logits.to(inputs.device))
    if total is None:
        raise checks.invalid("inputs", "hold at least one sample", tuple(inputs.shape))
    # Where the result is: a whole input's counts may not fit where the model is.
    there = replace(task, weights=task.weights.to(total))
    total /= there.counts(0, task.grid.size[0])
    return task.grid.crop(total)


def sliding_slabs(
    model: Network,
    inputs: Tensor,
    window: Sequence[int],
    *,
    overlap: float | None = None,
    weights: str = "gaussian",
    batch_size: int = 4,
    flips: Sequence[int] = (),
    device: torch.device | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """The same logits in slabs along the first spatial axis, each handed out when it is finished.

    What is held is one window's depth of sums and one slab, whatever the input's length; the inputs may be a tensor
    over a memory-mapped file.

    Args: as :func:`sliding_window`.

    Yields:
        (start, (N, C, rows, *rest) logits, where the model is): the slabs follow one another from 0 to the end.

    Example:
        >>> slabs = sliding_slabs(lambda x: x, torch.ones(1, 1, 9, 4, 4), (4, 4, 4))
        >>> [(start, slab.shape[2]) for start, slab in slabs]
        [(0, 2), (2, 2), (4, 1), (5, 2), (7, 2)]
    """
    task = _Sliding.of(model, inputs, window, overlap, weights, batch_size, flips, device)
    layers = task.grid.layers()
    sums: Tensor | None = None
    now = 0
    for sample, place, logits in task.outputs():
        if sums is None:
            sums = task.sums(logits, task.grid.window[0])
        while layers[now][0] < place[0]:
            first, last = layers[now]
            yield from task.finished(sums, first, last)
            _advance(sums, last - first)
            now += 1
        task.add(sums, sample, (0, *place[1:]), logits)
    if sums is not None:
        for first, last in layers[now:]:
            yield from task.finished(sums[:, :, first - layers[now][0] :], first, last)


@dataclass(frozen=True)
class _Sliding:
    """One input's pass through the network."""

    model: Network
    inputs: Tensor
    grid: Grid
    weights: Tensor
    batch_size: int
    device: torch.device

    @staticmethod
    def of(
        model: Network,
        inputs: Tensor,
        window: Sequence[int],
        overlap: float | None,
        weights: str,
        batch_size: int,
        flips: Sequence[int],
        device: torch.device | None,
    ) -> _Sliding:
        rank = inputs.ndim - 2
        if rank < 1 or len(window) != rank or min(window) < 1:
            raise checks.invalid("window", f"be {rank} sizes above 0, one a spatial axis of the inputs", tuple(window))
        share = (0.25 if rank == 2 else 0.5) if overlap is None else overlap
        grid = Grid.of(inputs.shape[2:], window, checks.number("overlap", share, at_least=0, below=1))
        axes = sorted({checks.integer("flips", axis, at_least=0, at_most=rank - 1) for axis in flips})
        place = device or inputs.device
        blend = blend_weights(window, weights).to(place)
        checks.integer("batch_size", batch_size, at_least=1)
        return _Sliding(mirrored(model, axes), grid.pad(inputs), grid, blend, batch_size, place)

    def outputs(self) -> Iterator[tuple[int, tuple[int, ...], Tensor]]:
        """(sample, place, (C, *window) logits) of every window, layer by layer along the first axis."""
        first, *rest = self.grid.starts
        places = ((n, (row, *other)) for row in first for n in range(len(self.inputs)) for other in product(*rest))
        while group := list(islice(places, self.batch_size)):
            patches = [self.inputs[(slice(n, n + 1), slice(None), *self.grid.region(place))] for n, place in group]
            logits = self.predict(torch.cat(patches).to(self.device))
            for (n, place), one in zip(group, logits, strict=True):
                yield n, place, one

    def predict(self, patches: Tensor) -> Tensor:
        """The network's logits, of the windows' size."""
        found = self.model(patches)
        if tuple(found.shape[2:]) != self.grid.window:
            raise checks.invalid(
                "model", f"give logits of the window's size {self.grid.window}", tuple(found.shape[2:])
            )
        return found

    def sums(self, logits: Tensor, rows: int) -> Tensor:
        """Zeros for the weighted sums of some rows of all samples, where the logits are."""
        dtype = torch.promote_types(torch.promote_types(logits.dtype, self.inputs.dtype), torch.float32)
        shape = (len(self.inputs), len(logits), rows, *self.grid.size[1:])
        return torch.zeros(shape, dtype=dtype, device=logits.device)

    def add(self, sums: Tensor, sample: int, place: Sequence[int], logits: Tensor) -> None:
        """Add a window's weighted logits in its place."""
        region = sums[sample][(slice(None), *self.grid.region(place))]
        logits, weights = logits.to(sums.dtype), self.weights.to(sums)
        # On a CPU class by class: a third faster than weights that are spread over the classes.
        pairs = zip(region, logits, strict=True) if sums.device.type == "cpu" else [(region, logits)]
        for part, one in pairs:
            part.addcmul_(one, weights)

    @cached_property
    def layer_counts(self) -> Tensor:
        """(window[0], *rest): the sum of the weights of the windows at one place of the first axis."""
        total = self.weights.new_zeros((self.grid.window[0], *self.grid.size[1:]))
        for place in product(*self.grid.starts[1:]):
            total[(slice(None), *self.grid.region((0, *place))[1:])] += self.weights
        return total

    def counts(self, first: int, last: int) -> Tensor:
        """(last - first, *rest): the sum of the weights over some rows."""
        total = self.weights.new_zeros((last - first, *self.grid.size[1:]))
        for row in self.grid.starts[0]:
            low, high = max(row, first), min(row + self.grid.window[0], last)
            if low < high:
                total[low - first : high - first] += self.layer_counts[low - row : high - row]
        return total

    def finished(self, sums: Tensor, first: int, last: int) -> Iterator[tuple[int, Tensor]]:
        """The rows from ``first`` to ``last``, of which the sums' first is ``first``, less what was padded."""
        rows, *rest = self.grid.inside()
        low, high = max(first, rows.start), min(last, rows.stop)
        if low < high:
            slab = sums[:, :, low - first : high - first] / self.counts(low, high).to(sums)
            yield low - rows.start, slab[(slice(None), slice(None), slice(None), *rest)]


def _advance(sums: Tensor, rows: int) -> None:
    """Move the sums forward by some rows of the first spatial axis; what comes in is 0."""
    kept = sums.shape[2] - rows
    sums[:, :, :kept] = sums[:, :, rows:].clone()
    sums[:, :, kept:] = 0
