"""Averages of a run's weights, tried at its end and kept where validation says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from hone.data.seeding import derive
from hone.recipe.job import Job
from hone.recipe.schema import read_averages
from hone.training import Step, write_tensors
from hone.training.folders import written_beside
from hone.transfer import apply_freeze
from hone.transfer.averaging import AverageState, Averaging, Ema, Swa, greedy_soup, interpolate, reestimate_norms

#: The moving average looks back over about this share of the run; the mean begins after this share of it.
_HORIZON, _MEAN_FROM = 0.2, 0.5
#: Points on the line from the probe to the tuned weights, where evaluations are cheap and where they are not; half-way
#: is the best guess without any data (Wortsman et al., CVPR 2022, section 4).
_LINE, _MIDDLE = (0.5, 0.75, 0.25), (0.5,)
#: Cheap: many points may cost this share of the run, an evaluated sample being a third of a trained one.
CHEAP, _EVALUATED = 0.15, 1 / 3
#: So many evaluations two lines, their mean, the probe and what is kept are, with all points and the middles alone.
MANY, FEW = 2 * len(_LINE) + 3, 2 * len(_MIDDLE) + 3
#: What the weights are called that training began at, and the averages of a run's own.
PROBE = "linear probe"
_NAMES = {"ema": "average of the last updates", "swa": f"mean of the last {1 - _MEAN_FROM:.0%} of the updates"}
#: So many of the best evaluations go into the soup.
_INGREDIENTS = 4

#: Evaluates the weights that are in the model; larger is better.
Score = Callable[[], float]


class Averages:
    """The running averages of a run, where it began, and the weights of its best evaluations.

    Args:
        job: before its first update, or as its checkpoint left it.
        folder: where weights are kept until the end.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        self._job, self._folder = job, folder
        length = job.total_updates
        #: What is averaged; nothing where no update is made.
        self.kinds = read_averages(str(job.recipe.averages)) if length else ()
        rules: dict[str, Averaging] = {
            "ema": Ema(max(0.0, 1 - 1 / max(_HORIZON * length, 1.0)), warmup=False),
            "swa": Swa(start=math.ceil(_MEAN_FROM * length)),
        }
        self._running = {kind: (rules[kind], AverageState(job.model)) for kind in rules if kind in self.kinds}
        #: How many weights each average is of.
        self.counts = dict.fromkeys(self._running, 0)
        #: Update and score of the evaluations whose weights are kept.
        self.ingredients: list[tuple[int, float]] = []
        self._soup: dict[str, Tensor] | None = None

    @property
    def _start(self) -> Path:
        return self._folder / "start.safetensors"

    @property
    def _has_probe(self) -> bool:
        return bool(self.kinds) and self._job.recipe.head == "probe"

    def begin(self) -> None:
        """Keep the probe that fine-tuning starts from."""
        if self._has_probe:
            self._keep(self._start)

    def take(self, step: Step) -> None:
        """Count the weights after an update; the first that are counted are the average."""
        for kind, (rule, state) in self._running.items():
            share = rule.share(step.update)
            if step.skipped or not share:
                continue
            count = self.counts[kind] = self.counts[kind] + 1
            state.take(self._job.model, 1 / count if kind == "swa" or count == 1 else share)

    def evaluated(self, update: int, score: float) -> None:
        """Keep the weights of an evaluation if it is one of the best; larger scores are better."""
        if "soup" not in self.kinds:
            return
        found = sorted([*self.ingredients, (update, score)], key=lambda each: (-each[1], each[0]))[:_INGREDIENTS]
        if (update, score) in found:
            self._keep(self._ingredient(update))
        self.ingredients = found

    def saved(self) -> None:
        """A checkpoint knows the ingredients: what is none any more may go."""
        kept = {self._ingredient(update) for update, _ in self.ingredients}
        if self._job.world.is_first and "soup" in self.kinds:
            for path in set(self._folder.glob("soup-*.safetensors")) - kept:
                path.unlink()

    def tensors(self) -> dict[str, Tensor]:
        """For the checkpoint."""
        return {
            f"{kind}/{name}": tensor
            for kind, (_, state) in self._running.items()
            for name, tensor in state.weights().items()
        }

    def to_json(self) -> dict[str, Any]:
        """For the checkpoint, besides the tensors."""
        return {"ingredients": self.ingredients, "counts": self.counts}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any], update: int) -> None:
        """From a checkpoint; a mean that begins later, because the run has become longer, begins anew.

        Args:
            tensors: what :meth:`tensors` gave.
            values: what :meth:`to_json` gave.
            update: where the run stands.
        """
        self.ingredients = [(when, score) for when, score in values["ingredients"]]
        self.counts = dict(values["counts"])
        for kind, (rule, average) in self._running.items():
            average.load({name.removeprefix(f"{kind}/"): tensor for name, tensor in tensors.items()})
            if isinstance(rule, Swa) and rule.start > update:
                self.counts[kind] = 0

    def tried(self, score: Score) -> Iterator[str]:
        """Put one average after another into the model, and say its name; at the end the model is as it was.

        Args:
            score: of the weights in the model, for a soup, which is mixed by it.
        """
        if not self.kinds:
            return
        last = self._copy()
        try:
            for name, weights in self._all(last, score):
                self._put(weights, name)
                yield name
        finally:
            self._job.model.load_state_dict(last)

    @contextmanager
    def in_model(self, name: str, score: Score) -> Iterator[None]:
        """With the weights of this name in the model; then it is as it was."""
        last = self._copy()
        try:
            self._put(next(weights for each, weights in self._all(last, score) if each == name), name)
            yield
        finally:
            self._job.model.load_state_dict(last)

    def _all(self, last: dict[str, Tensor], score: Score) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        """Names and weights, what is trusted most first; nothing is made before it is asked for."""
        running = {kind: state.weights() for kind, (_, state) in self._running.items() if self.counts[kind]}
        first = self._read(self._start, last) if self._has_probe else {}
        if "line" in self.kinds:
            ends = ({"mean": running["swa"]} if "swa" in running else {}) | {"last weights": last}
            for share in self._points(len(ends)):
                for end, weights in ends.items():
                    yield f"{share:.0%} of the way from the probe to the {end}", interpolate(first, weights, share)
        for kind, weights in running.items():
            yield _NAMES[kind], weights
        if len(self.ingredients) > 1:
            self._soup = self._mix(last, score) if self._soup is None else self._soup
            if self._soup:
                yield "soup of the best evaluations", self._soup
        if first:
            yield PROBE, first

    def _mix(self, last: Mapping[str, Tensor], score: Score) -> dict[str, Tensor]:
        """The soup; empty where one evaluation's weights are better than any mean."""
        states = [self._read(self._ingredient(update), last) for update, _ in self.ingredients]

        def scored(weights: Mapping[str, Tensor]) -> float:
            self._put(weights)
            return score()

        soup = greedy_soup(states, [value for _, value in self.ingredients], scored)
        return soup.weights if max(soup.shares) < 1 else {}

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._job.model.state_dict().items()}

    def _put(self, weights: Mapping[str, Tensor], name: str = "") -> None:
        self._job.model.load_state_dict(weights)
        if name != PROBE:  # its batch norms have the statistics of its own weights
            self._renew_norms()

    def _points(self, lines: int) -> tuple[float, ...]:
        trained = self._job.total_updates * self._job.samples_an_update
        evaluated = _EVALUATED * (len(_LINE) * lines + 1) * len(self._job.splits.val)
        return _LINE if evaluated <= CHEAP * trained else _MIDDLE

    def _ingredient(self, update: int) -> Path:
        return self._folder / f"soup-{update}.safetensors"

    def _keep(self, path: Path) -> None:
        if self._job.world.is_first:
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_beside(path) as draft:
                write_tensors(draft, self._job.model.state_dict())

    def _read(self, path: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self._job.world.wait()  # until the first process has written it
        return {name: tensor.to(like[name].device) for name, tensor in load_file(path).items()}

    def _renew_norms(self) -> None:
        """The same for the same weights, whenever it is done: from the same photos, by the same chance."""
        job = self._job
        stream: Any = job.train.batches(0)
        batches = (next(stream)[0] for _ in range(job.train.updates_per_epoch * job.recipe.accumulate))
        job.model.train()
        apply_freeze(job.model, job.plan, max(job.total_updates - 1, 0))
        devices = [job.world.device] if job.world.device.type == "cuda" else []
        with torch.random.fork_rng(devices), job.precision.autocast():
            torch.manual_seed(derive("norms", job.recipe.seed))
            if reestimate_norms(job.model, batches):
                job.world.share_buffers(job.model)
        if hasattr(stream, "close"):
            stream.close()
