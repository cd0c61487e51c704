"""Activation checkpointing: keep only each block's input, and run its forward again in the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

CONTAINERS = (nn.Sequential, nn.ModuleList)


def blocks_of(model: nn.Module) -> list[str]:
    """The names of the repeated blocks of a model: transformer blocks, residual blocks, the levels of a U-Net.

    They are the children, with children of their own, of the outermost ``Sequential`` or ``ModuleList`` that has at
    least two such; where there is none, the model's own children that have children.

    Example:
        >>> block = lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> blocks_of(nn.Sequential(block(), block(), nn.Linear(2, 2)))
        ['0', '1']
    """
    found = list(repeated(model, ""))
    if not found:
        found = [name for name, child in model.named_children() if is_block(child)]
    return found


def repeated(module: nn.Module, prefix: str) -> Iterator[str]:
    """Walk down to the containers of blocks; nothing inside a block is walked."""
    children = list(module.named_children())
    blocks = [name for name, child in children if is_block(child)]
    if isinstance(module, CONTAINERS) and len(blocks) >= 2:
        yield from (f"{prefix}{name}" for name in blocks)
        return
    for name, child in children:
        yield from repeated(child, f"{prefix}{name}.")


def is_block(module: nn.Module) -> bool:
    """Whether the module has a forward of its own, over children."""
    return any(True for _ in module.children()) and not isinstance(module, (nn.ModuleList, nn.ModuleDict))


def checkpoint_blocks(model: nn.Module, names: list[str] | None = None) -> list[str]:
    """Make blocks of ``model`` recompute their activations in the backward pass, in place.

    Outputs, gradients, norm statistics and random numbers are those of the model as it was: dropout draws the same mask
    again, and batch statistics are counted once. State dict keys, and ``isinstance``, stay as they are.

    Args:
        model: any model.
        names: modules to checkpoint; by default ``blocks_of(model)``.

    Returns:
        The names of the blocks.

    Example:
        >>> block = lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> checkpoint_blocks(nn.Sequential(block(), block()))
        ['0', '1']

    Reference:
        Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174.
    """
    names = blocks_of(model) if names is None else names
    for name in names:
        block = model.get_submodule(name)
        kind = type(block)
        if not issubclass(kind, _Checkpointed):
            # A subclass, not a wrapper: a wrapper would rename the state dict's keys, and a replaced ``forward`` would
            # still belong to the original after a deep copy.
            block.__class__ = type(kind.__name__, (_Checkpointed, kind), {"__module__": kind.__module__})
    return names


class _Checkpointed(nn.Module):
    """Put before a block's own class: its forward, through ``torch.utils.checkpoint``."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        own = super().forward
        if not self.training and not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            return own(*args, **kwargs)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), statistics_held(self)

        return checkpoint(own, *args, use_reentrant=False, context_fn=contexts, **kwargs)


@contextmanager
def statistics_held(module: nn.Module) -> Iterator[None]:
    """Let no norm layer of ``module`` move its running statistics: the first forward has counted this batch."""
    norms = [m for m in module.modules() if isinstance(m, _NormBase) and m.track_running_stats and m.training]
    held = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    try:
        for norm, _, count in held:
            norm.momentum = 0.0
            norm.num_batches_tracked = None if count is None else count.clone()
        yield
    finally:
        for norm, momentum, count in held:
            norm.momentum = momentum
            norm.num_batches_tracked = count
