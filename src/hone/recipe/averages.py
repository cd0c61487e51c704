"""Averages of a run's weights, tried at its end and kept where validation says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

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
#: So many evaluations two lines, their mean and the probe are, with all points and with the middles alone.
MANY, FEW = 2 * len(_LINE) + 2, 2 * len(_MIDDLE) + 2
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
        #: Update and score of the evaluations whose weights are kept.
        self.ingredients: list[tuple[int, float]] = []
        self._soup: dict[str, Tensor] = {}

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
        """Count the weights after an update."""
        for rule, state in self._running.values():
            if not step.skipped:
                state.take(self._job.model, rule.share(step.update))

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

    def load(self, tensors: Mapping[str, Tensor], ingredients: Sequence[Sequence[Any]]) -> None:
        """From a checkpoint."""
        self.ingredients = [(update, score) for update, score in ingredients]
        for kind, (_, state) in self._running.items():
            state.load({name.removeprefix(f"{kind}/"): tensor for name, tensor in tensors.items()})

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
        running = {kind: state.weights() for kind, (_, state) in self._running.items()}
        first = self._read(self._start, last) if self._has_probe else {}
        if "line" in self.kinds:
            ends = ({"mean": running["swa"]} if "swa" in running else {}) | {"last weights": last}
            for share in self._points(len(ends)):
                for end, weights in ends.items():
                    yield f"{share:.0%} of the way from the probe to the {end}", interpolate(first, weights, share)
        for kind, weights in running.items():
            yield _NAMES[kind], weights
        if len(self.ingredients) > 1:
            self._soup = self._soup or self._mix(last, score)
            yield "soup of the best evaluations", self._soup
        if first:
            yield PROBE, first

    def _mix(self, last: Mapping[str, Tensor], score: Score) -> dict[str, Tensor]:
        states = [self._read(self._ingredient(update), last) for update, _ in self.ingredients]

        def scored(weights: Mapping[str, Tensor]) -> float:
            self._put(weights)
            return score()

        return greedy_soup(states, [value for _, value in self.ingredients], scored).weights

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._job.model.state_dict().items()}

    def _put(self, weights: Mapping[str, Tensor], name: str = "") -> None:
        self._job.model.load_state_dict(weights)
        if name != PROBE:  # its batch norms have the statistics of its own weights
            self._renew_norms()

    def end(self) -> None:
        """Delete what was kept for the end."""
        if self._job.world.is_first:
            for path in (self._start, *self._folder.glob("soup-*.safetensors")):
                path.unlink(missing_ok=True)

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
        job = self._job
        stream: Any = job.train.batches(0)
        batches = (next(stream)[0] for _ in range(job.train.updates_per_epoch * job.recipe.accumulate))
        job.model.train()
        apply_freeze(job.model, job.plan, max(job.total_updates - 1, 0))
        with job.precision.autocast():
            reestimate_norms(job.model, batches)
        if hasattr(stream, "close"):
            stream.close()
