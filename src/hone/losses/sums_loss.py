"""Losses that are functions of the sums over voxels: one pass over the logits serves all that are added together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from torch import Tensor

from hone.losses.loss import Loss
from hone.losses.plain_sums import COMPLEMENT, CROSS_ENTROPY, Sums
from hone.losses.processes import add_over_processes
from hone.losses.sums import compute_sums
from hone.losses.targets import count_valid, working_dtype


class Wants(NamedTuple):
    """The optional sums a loss needs, and the focal exponent of its cross-entropy."""

    flags: int = 0
    gamma: float = 0.0

    @property
    def crossed(self) -> bool:
        """Whether the cross-entropy or its complement is among them, so that ``gamma`` matters."""
        return bool(self.flags & (CROSS_ENTROPY | COMPLEMENT))

    def fits(self, other: Wants) -> bool:
        """Whether one pass can give both."""
        return self.gamma == other.gamma or not self.crossed or not other.crossed

    def union(self, other: Wants) -> Wants:
        """What either of two losses that fit needs."""
        return Wants(self.flags | other.flags, self.gamma if self.crossed else other.gamma)


class SumsLoss(Loss):
    """A loss computed by ``from_sums`` from the sums of one pass."""

    softmax: ClassVar[bool]
    ignore_index: int
    across_processes: bool
    inplace: bool
    wants: Wants
    #: Whether the loss is `from_sums` of the target as it is; not so where losses of single voxels are asked for.
    shares: bool = True

    def from_sums(self, sums: Sums, is_index: bool) -> Tensor:
        """The loss as a function of the sums; ``is_index`` says whether the target held labels."""
        raise TypeError(f"{type(self).__name__} defines no from_sums")

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        return self.from_pass(self.sums(logits, target, mask, self.wants), logits, target)

    def sums(self, logits: Tensor, target: Tensor, mask: Tensor | None, wants: Wants) -> Sums:
        """One pass over the logits, added over processes where asked."""
        sums = compute_sums(
            logits,
            target,
            mask,
            sigmoid=not self.softmax,
            ignore_index=self.ignore_index,
            flags=wants.flags,
            gamma=wants.gamma,
            inplace=self.inplace,
        )
        return add_over_processes(sums) if self.across_processes else sums

    def from_pass(self, sums: Sums, logits: Tensor, target: Tensor) -> Tensor:
        """``from_sums`` in the dtype losses are returned in."""
        is_index = self.softmax and target.shape != logits.shape
        return self.from_sums(sums, is_index).to(working_dtype(logits))

    def can_share(self, other: object) -> bool:
        """Whether one pass can serve this loss and another."""
        return isinstance(other, SumsLoss) and self._pass() == other._pass() and self.wants.fits(other.wants)

    def _pass(self) -> tuple[object, ...]:
        own = None if self.shares else id(self)
        return self.softmax, self.ignore_index, self.across_processes, self.inplace, own

    def valid_weight(self, target: Tensor) -> Tensor:
        """How many voxels of ``target`` count."""
        return count_valid(target, self.ignore_index)


def share_pass(losses: Sequence[object], logits: Tensor, target: Tensor, mask: Tensor | None) -> dict[int, Tensor]:
    """Of the losses of a sum, the values of those that one pass can serve, by their place; none if fewer than two."""
    leader = next((loss for loss in losses if isinstance(loss, SumsLoss) and loss.shares), None)
    if leader is None:
        return {}
    wants, members = leader.wants, {}
    for place, loss in enumerate(losses):
        if isinstance(loss, SumsLoss) and leader.can_share(loss) and wants.fits(loss.wants):
            members[place] = loss
            wants = wants.union(loss.wants)
    if len(members) < 2:
        return {}
    sums = leader.sums(logits, target, mask, wants)
    return {place: loss.from_pass(sums, logits, target) for place, loss in members.items()}
