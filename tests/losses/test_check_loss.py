"""`hone.testing.check_loss`: passes what is right, sees what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hone.testing import check_loss

from .cases import OTHERS, TABLE, Case


@pytest.mark.parametrize("case", TABLE + OTHERS, ids=lambda case: case.name)
def test_our_own_losses_pass(case: Case) -> None:
    kind = "labels" if case.softmax else "values"
    place_matters = case.name in ("boundary", "hausdorff", "cl dice")
    check_loss(case.loss, target=kind, ignore_index=-100, place_matters=place_matters)


WRONG: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "return a 0-d tensor": lambda x, t: F.cross_entropy(x, t, reduction="none"),
    "slope": lambda x, t: F.cross_entropy(x, t) + (x.detach() ** 2).mean(),
    "give the same twice": lambda x, t: F.cross_entropy(x, t) + torch.rand(()),
    "leave its inputs": lambda x, t: F.cross_entropy(x.mul_(0.5) if not x.requires_grad else x, t),
    "be finite in float": lambda x, t: -torch.log(x.softmax(1)).gather(1, t[:, None]).mean(),
    "order of voxels": lambda x, t: (F.cross_entropy(x, t, reduction="none") * torch.arange(4)).mean(),
    "scale its gradient": lambda x, t: Stubborn.apply(x),
    "be differentiable": lambda x, t: F.cross_entropy(x.detach(), t),
    "everything is ignored": lambda x, t: F.cross_entropy(x.double(), t),
}


class Stubborn(torch.autograd.Function):
    """A mean whose gradient forgets what comes from above."""

    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        ctx.shape = x.shape
        return x.mean()

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        return torch.full(ctx.shape, 1 / ctx.shape.numel(), dtype=torch.float64)


@pytest.mark.parametrize("law", WRONG)
def test_each_law_can_be_broken(law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_loss(WRONG[law], ignore_index=-100)
