"""Losses that are functions of the sums over voxels: one pass over the logits serves all that are added together."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from torch import Tensor

from hone.losses.loss import Loss
from hone.losses.processes import add_over_processes
from hone.losses.sums import Sums, sigmoid_sums, softmax_sums
from hone.losses.targets import count_valid, working_dtype


class Wants(NamedTuple):
    """The optional sums a loss needs."""

    squares: bool = False
    cross_entropy: bool = False
    complement: bool = False

    def union(self, other: Wants) -> Wants:
        """What either of two losses needs."""
        return Wants(*(mine or theirs for mine, theirs in zip(self, other, strict=True)))


class SumsLoss(Loss):
    """A loss computed by ``from_sums`` from the sums of one pass."""

    softmax: ClassVar[bool]
    ignore_index: int
    across_processes: bool
    wants: Wants

    def from_sums(self, sums: Sums, is_index: bool) -> Tensor:
        """The loss as a function of the sums; ``is_index`` says whether the target held labels."""
        raise TypeError(f"{type(self).__name__} defines no from_sums")

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        return self.from_pass(self.sums(logits, target, mask, self.wants), logits, target)

    def sums(self, logits: Tensor, target: Tensor, mask: Tensor | None, wants: Wants) -> Sums:
        """One pass over the logits, added over processes where asked."""
        compute = softmax_sums if self.softmax else sigmoid_sums
        sums = compute(logits, target, mask=mask, ignore_index=self.ignore_index, **wants._asdict())
        return add_over_processes(sums) if self.across_processes else sums

    def from_pass(self, sums: Sums, logits: Tensor, target: Tensor) -> Tensor:
        """``from_sums`` in the dtype losses are returned in."""
        is_index = self.softmax and target.shape != logits.shape
        return self.from_sums(sums, is_index).to(working_dtype(logits))

    def can_share(self, other: object) -> bool:
        """Whether one pass can serve this loss and another."""
        return (
            isinstance(other, SumsLoss)
            and (self.softmax, self.ignore_index, self.across_processes)
            == (other.softmax, other.ignore_index, other.across_processes)
            and type(other).forward is SumsLoss.forward
            and type(self).forward is SumsLoss.forward
        )

    def valid_weight(self, target: Tensor) -> Tensor:
        """How many voxels of ``target`` count."""
        return count_valid(target, self.ignore_index)
