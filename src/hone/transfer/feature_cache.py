"""The frozen part of a network runs once: its features are stored, and training begins from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hone import checks
from hone.transfer.boundary import CannotCacheError, find_cut, undisturbed
from hone.transfer.cut import Cut, cut_from_json, cut_to_json
from hone.transfer.feature_store import (
    Layout,
    NoRoomError,
    StoredFeatures,
    forget,
    read_description,
    read_features,
    write_features,
)
from hone.transfer.fingerprint import fingerprint, frozen_fingerprint
from hone.transfer.folding import folded_norms
from hone.transfer.layers import unwrap
from hone.transfer.splice import Features, Splice, is_near

__all__ = ["CannotCacheError", "FeatureCache", "NoRoomError"]

_LOOKED_AT = 3


class FeatureCache:
    """Runs the frozen part of a network once over a data set, and stores its features for this run and the next ones.

    Afterwards ``model(features[rows])`` is ``model(inputs[rows])`` without the frozen part: the same logits to the bit
    where the batches were as large, and the same gradients. All else about the model is as before: it still takes
    images, and ``model.train()``, freeze plans and optimizers see no difference.

    Make it with the model in the modes in which it will train (after ``apply_freeze``), and use it under the same
    autocast. What was stored is found again only by the same frozen weights, modules, modes, dtype and data.

    Args:
        model: the network; changed in place from the first features on (``remove()`` undoes it).
        folder: where the features of all runs lie.
        budget: bytes that they may take in all.
        trains: the names of the parameters that train at some time; by default those that require a gradient now.
        half: store numbers of 32 bits in 16; logits are then equal to about 1e-3.
        folds: run frozen batch norms inside the convolutions before them: faster, and features are then equal to about
            1e-6 and no longer to the bit.

    Attributes:
        notes: what was done for each data set: computed, found, or found damaged and computed anew.

    Example:
        >>> import tempfile
        >>> from hone.transfer import FreezePlan, apply_freeze
        >>> model = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)).train()
        >>> _ = apply_freeze(model, FreezePlan("head"))
        >>> photos = torch.randn(10, 8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = FeatureCache(model, folder, budget=10**6)
        ...     features = cache.features([(photos[:5],), (photos[5:],)], count=10, data=fingerprint(photos))
        ...     torch.equal(model(features[[7, 1, 4, 9, 0]]), model(photos[[7, 1, 4, 9, 0]])), cache.notes
        (True, ['computed'])

    Reference:
        Kornblith, Shlens and Le, "Do Better ImageNet Models Transfer Better?", CVPR 2019 (fixed features).
    """

    def __init__(
        self,
        model: nn.Module,
        folder: str | Path,
        *,
        budget: int,
        trains: Collection[str] | None = None,
        half: bool = False,
        folds: bool = False,
    ) -> None:
        self.model, self.folder, self.half, self.folds = unwrap(model), Path(folder), half, folds
        self.budget = checks.integer("budget", budget, at_least=0)
        named = self.model.named_parameters()
        self.trains = frozenset({n for n, p in named if p.requires_grad} if trains is None else trains)
        self.notes: list[str] = []
        self._splice: Splice | None = None

    def features(self, batches: Iterable[Sequence[Any]], *, count: int, data: str) -> StoredFeatures:
        """The features of a data set: found, or computed in one pass without gradients.

        Args:
            batches: ``(inputs, ...)`` in the order of the rows, (N, ...) each, all but the last of one size; begun
                twice.
            count: samples in all of them together.
            data: a name for exactly these inputs, which changes with any of them: see :func:`fingerprint`.

        Raises:
            CannotCacheError: the frozen part can't run once: the reason.
            NoRoomError: the features need more than the budget, or than the disk has.
        """
        checks.integer("count", count, at_least=1)
        key = fingerprint(frozen_fingerprint(self.model, self.trains), sorted(self.trains), data, self.half, self.folds)
        inputs = _first_inputs(batches)
        note = "computed"
        try:
            stored = self._found(key, count, inputs)
        except ValueError as error:
            stored, note = None, f"computed anew: {error}"
        if stored is not None:
            self.notes.append("found")
            return stored
        stored = self._stored(key, count, batches, inputs)
        self.notes.append(note)
        return stored

    def remove(self) -> None:
        """Let the network take its own input only, as before."""
        if self._splice is not None:
            self._splice.remove()
            self._splice = None

    def _spliced(self, cut: Cut | None, inputs: Tensor) -> Splice:
        """The network's splice; the first time at this cut, or where a search finds one."""
        if self._splice is None:
            self._splice = Splice(self.model, cut or find_cut(self.model, inputs, trains=self.trains))
        return self._splice

    def _stored(self, key: str, count: int, batches: Iterable[Sequence[Any]], inputs: Tensor) -> StoredFeatures:
        """Compute and store; where that fails for the first data set, the network is as it was."""
        splice = self._spliced(None, inputs)
        try:
            with undisturbed(self.model, self.trains), self._folded(splice, inputs[:_LOOKED_AT]):
                return write_features(
                    self.folder,
                    key,
                    Layout(splice.cut.slots, self.half),
                    count,
                    _computed(splice, batches, len(inputs)),
                    budget=self.budget,
                    notes={"cut": cut_to_json(splice.cut)},
                )
        except BaseException:
            if not self.notes:
                self.remove()
            raise

    def _folded(self, splice: Splice, inputs: Tensor) -> AbstractContextManager[object]:
        if not self.folds:
            return nullcontext()
        return folded_norms(self.model, lambda: splice.features(inputs).tensors)

    def _found(self, key: str, count: int, inputs: Tensor) -> StoredFeatures | None:
        """What was stored, if it is whole and still what the network gives for the first samples.

        Raises:
            ValueError: it is not.
        """
        told = read_description(self.folder, key)
        if told is None:
            return None
        cut = cut_from_json(told["cut"])
        stored = read_features(self.folder, key, Layout(cut.slots, self.half), count)
        if stored is None or (self._splice is not None and self._splice.cut != cut):
            return None
        with undisturbed(self.model, self.trains):
            now = self._spliced(cut, inputs).features(inputs[:_LOOKED_AT])
        if not _agree(now, stored[range(len(now))], self.half):
            self.remove()
            forget(self.folder, key)
            raise ValueError("the network gives other features than those stored under its name")
        return stored


def _agree(now: Features, before: Features, half: bool) -> bool:
    """Whether features are the same but for the last bits: another number of samples, other kernels."""
    for new, old in zip(now.tensors, before.to(now.tensors[0].device).tensors, strict=True):
        precision = torch.finfo(new.dtype).eps if new.is_floating_point() else 0.0
        if not is_near(new, old, max(1e3 * precision, 2e-3 if half else 0.0)):
            return False
    return True


def _first_inputs(batches: Iterable[Sequence[Any]]) -> Tensor:
    iterator = iter(batches)
    try:
        inputs = next(iterator)[0]
    except StopIteration:
        raise CannotCacheError("there are no samples") from None
    finally:
        close: Callable[[], None] | None = getattr(iterator, "close", None)
        if close is not None:
            close()
    if not isinstance(inputs, Tensor):
        raise CannotCacheError(f"the input is no tensor but {type(inputs).__name__}")
    return inputs


def _computed(splice: Splice, batches: Iterable[Sequence[Any]], size: int) -> Iterator[Features]:
    """The features of each batch; the last is filled up, so that all run as training's batches will."""
    for batch in batches:
        inputs, missing = batch[0], size - len(batch[0])
        if missing > 0:
            inputs = torch.cat([inputs, inputs[:1].expand(missing, *inputs.shape[1:])])
        found = splice.features(inputs)
        yield Features(tuple(tensor[: len(batch[0])] for tensor in found.tensors))
