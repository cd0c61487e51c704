"""Carry out a job: train, evaluate, keep the best, write checkpoints, and end with a result and a report."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from hone.recipe.averages import PROBE, Averages
from hone.recipe.cached import probe_data
from hone.recipe.extension import is_further_extended
from hone.recipe.folder import Run, as_json
from hone.recipe.job import Job
from hone.recipe.keeping import Judged, choose, told, why
from hone.recipe.meter import Meter
from hone.recipe.outcome import conclude
from hone.recipe.start import start_from_probe
from hone.recipe.state import BestState, RunState
from hone.report import Result
from hone.training import (
    Checkpoint,
    Outputs,
    Record,
    Step,
    StopSignal,
    calibrated_losses,
    is_better,
    list_checkpoints,
    measure,
    read_checkpoint,
    run_over,
    save_checkpoint,
    updates,
    write_tensors,
)
from hone.training.folders import remove, written_beside

_TELL_EVERY = 10


class Show(Protocol):
    """Who is told how the run goes, in lines of ``metrics.jsonl``."""

    def tell(self, line: dict[str, Any]) -> None: ...


def carry_out(job: Job, run: Run, show: Show, stop: StopSignal, *, resume: bool = False) -> Result:
    """Run a job to its end, or until somebody asks to stop.

    Args:
        job: what to do.
        run: where to write; only the first process writes.
        show: who is told.
        stop: asked after every update.
        resume: go on from the newest checkpoint, if there is one.

    Returns:
        What is known at the end; ``interrupted`` where there is more to do.

    Raises:
        NonFiniteLossError: the loss became NaN or infinite; the best weights and the checkpoints before it are kept.
        OSError: a file can't be written; what was written before is whole.
    """
    averages = Averages(job, run.checkpoints)
    state = restore(job, run, averages) if resume else RunState()
    training = _Training(job, run, state, averages, show, stop)
    with _begun(job, run, state), Record(run.path if job.world.is_first else None, state.loop.update) as record:
        finished = training.run(record)
    if finished and job.world.is_first:
        _write_weights(job, run.last)
    return conclude(job, run, state, training.best_outputs, interrupted=not finished)


def restore(job: Job, run: Run, averages: Averages) -> RunState:
    """Put the newest checkpoint's tensors and states back into the job and its averages."""
    found = list_checkpoints(run.checkpoints)
    if not found:
        return RunState()
    checkpoint = read_checkpoint(found[-1])
    checkpoint.restore(job.model, job.optimizer)
    state = RunState.from_json(checkpoint.state["run"])
    averages.load(checkpoint.average, checkpoint.state["averages"], state.loop.update)
    job.precision.load_state_dict(checkpoint.state["precision"])
    if is_further_extended(job, checkpoint.state):
        state.go_on()
    elif hasattr(job.schedule, "load_state_dict"):
        job.schedule.load_state_dict(checkpoint.state["schedule"])
    return state


class _Training:
    """The body of the loop: what is told, what is kept, when it ends."""

    def __init__(self, job: Job, run: Run, state: RunState, averages: Averages, show: Show, stop: StopSignal) -> None:
        self.job, self.run_folder, self.state, self.show, self.stop = job, run, state, show, stop
        self.averages = averages
        self.meter = Meter(job, state)
        self.outputs: Outputs  # of the last evaluation
        self.best_outputs: Outputs | None = None
        self.saved = time.monotonic()

    def run(self, record: Record) -> bool:
        """Train; whether the run came to its end."""
        if self.state.loop.attempt == 0 and self.job.recipe.head == "probe":
            self.probe(record)
        if not self.job.total_updates:
            return True
        if self.state.loop.attempt == 0:
            self.averages.begin()
        if not self.is_out_of_patience():  # else it was stopped between that and its end
            self.train(record)
        finished = self.is_out_of_patience() or self.state.loop.update >= self.job.total_updates
        if finished:
            self.keep_the_best(record)
        return finished

    def train(self, record: Record) -> None:
        """Update after update, until the end, a wish to stop, or no patience."""
        for step in self.updates():
            self.meter.add(step)
            self.averages.take(step)
            if step.metrics is not None or step.attempt % _TELL_EVERY == 0:
                self.tell(record, self.meter.line(step))
            if step.metrics is not None:
                self.tell(record, self.judge(step.metrics))
                self.averages.evaluated(step.update, self.score(step.metrics))
            asked = self.is_asked_to_stop(step)
            if step.metrics is not None or asked or self.is_due(step):
                self.save()
            if asked or self.is_out_of_patience():
                break

    def probe(self, record: Record) -> None:
        """Begin where the probe ends, and take its measure: what is kept is never worse."""
        start = time.monotonic()
        with probe_data(self.job) as data:
            unseen = start_from_probe(self.job, data)
            self.state.evaluating += time.monotonic() - start
            if len(self.job.splits.val):
                metrics = self.evaluate(data.val) if unseen is None else self.measured(unseen)
                self.state.baselines[PROBE] = metrics[str(self.job.recipe.metric)]
                self.tell(record, self.judge(metrics))

    def keep_the_best(self, record: Record) -> None:
        """Evaluate the averages of the run, and keep one of them, or the probe, unless an evaluation was better."""
        state, metric, score = self.state, str(self.job.recipe.metric), lambda: self.score(self.evaluate())
        settled = [self.judged(name, self.evaluate()) for name in self.averages.tried(score)]
        if not settled:
            return
        before, least = state.best.value, state.baselines.get(PROBE)
        kept = choose(settled, metric, best=before, least=least, count=len(self.job.splits.val))
        if kept is not None:
            with self.averages.in_model(kept.name, score):
                self.evaluate()
                self.write_best()
            update = 0 if kept.name == PROBE else state.loop.update
            state.kept = BestState(update, kept.metrics[metric])
            self.save()
            state.best = state.kept
        for each in settled:
            self.tell(record, self.line(each, is_best=each is kept))
        self.job.remarks.append(("averages", told(settled, metric, kept)))
        if kept is not None:
            self.job.remarks.append(("kept", why(settled, metric, kept, before)))

    def judged(self, name: str, metrics: dict[str, float]) -> Judged:
        """What has just been evaluated, with what a choice goes by."""
        return Judged(name, metrics, calibrated_losses(self.job.splits.task, self.outputs))

    def line(self, judged: Judged, *, is_best: bool) -> dict[str, Any]:
        """Of averaged weights, for ``metrics.jsonl``."""
        return {**self.meter.evaluation_line(judged.metrics, is_best), "kind": "average", "weights": judged.name}

    def score(self, metrics: dict[str, float]) -> float:
        """The run's metric, larger for better."""
        metric = str(self.job.recipe.metric)
        return metrics[metric] if is_better(metric, 1.0, 0.0) else -metrics[metric]

    def updates(self) -> Any:
        """The loop itself, as the recipe says it."""
        job, recipe = self.job, self.job.recipe
        return updates(
            job.model,
            job.criterion,
            job.optimizer,
            job.train.batches,
            total_updates=job.total_updates,
            schedule=job.schedule,
            plan=job.plan,
            precision=job.precision,
            max_norm=recipe.max_norm or math.inf,  # without a bound the norm is still told
            accumulate=recipe.accumulate,
            seed=recipe.seed,
            world=job.world,
            evaluate=self.evaluate if len(job.splits.val) else None,
            evaluate_every=recipe.eval_every,
            monitor=str(recipe.metric),
            state=self.state.loop,
        )

    def evaluate(self, batches: Iterable[Any] | None = None) -> dict[str, float]:
        """All metrics of the validation data, now; ``batches`` are the same data as features."""
        job, start = self.job, time.monotonic()
        batches = job.validation if batches is None else batches
        metrics = self.measured(run_over(job.model, batches, job.criterion, job.precision, job.world, job.inference))
        self.state.evaluating += time.monotonic() - start
        return metrics

    def measured(self, outputs: Outputs) -> dict[str, float]:
        """All metrics of outputs that are there already."""
        self.outputs = outputs if self.job.units is None else self.job.units.restore(outputs)
        return measure(self.job.splits.task, self.outputs)

    def judge(self, metrics: dict[str, float]) -> dict[str, Any]:
        """Keep the weights if they are the best so far; the line that says so."""
        metric = str(self.job.recipe.metric)
        is_best = self.state.best.take(metric, metrics[metric], self.state.loop.update)
        if is_best:
            self.write_best()
        return self.meter.evaluation_line(metrics, is_best)

    def write_best(self) -> None:
        """Keep the weights that are in the model, which have just been evaluated."""
        self.best_outputs = self.outputs
        if self.job.world.is_first:
            _write_weights(self.job, self.run_folder.best)

    def tell(self, record: Record, line: dict[str, Any]) -> None:
        """Write a line and show it."""
        record.write(line)
        if self.job.world.is_first:
            self.show.tell(line)

    def is_asked_to_stop(self, step: Step) -> bool:
        """Whether somebody asked, on any process; several processes agree every few attempts only."""
        if self.job.world.size == 1:
            return self.stop.name is not None
        return step.attempt % _TELL_EVERY == 0 and self.job.world.any(self.stop.name is not None)

    def is_due(self, step: Step) -> bool:
        """Whether an epoch or the run ends here, or the last checkpoint is too long ago."""
        if step.attempt % self.job.train.updates_per_epoch == 0 or step.before + 1 == self.job.total_updates:
            return True
        return time.monotonic() - self.saved > 60 * self.job.recipe.checkpoint_minutes

    def is_out_of_patience(self) -> bool:
        """Whether as many evaluations as the recipe allows were no better than the best."""
        return self.job.recipe.patience is not None and self.state.best.waited >= self.job.recipe.patience

    def save(self) -> None:
        """Write a checkpoint of everything that the run goes on from."""
        self.saved = time.monotonic()
        self.meter.stop_clock()
        if not self.job.world.is_first:
            return
        job = self.job
        readings = job.schedule.state_dict() if hasattr(job.schedule, "state_dict") else None
        state = {
            "run": self.state.to_json(),
            "precision": job.precision.state_dict(),
            "schedule": readings,
            "extensions": job.extensions,
            "averages": self.averages.to_json(),
        }
        update = self.state.loop.update
        save_checkpoint(
            self.run_folder.checkpoints, update, Checkpoint.of(job.model, job.optimizer, state, self.averages.tensors())
        )
        self.averages.saved()


@contextmanager
def _begun(job: Job, run: Run, state: RunState) -> Iterator[None]:
    """The run folder with what is known before the first update; taken away again where the first attempt fails."""
    if not job.world.is_first:
        yield
        return
    before = set(run.path.iterdir()) if run.path.exists() else None
    try:
        _write_beginning(job, run)
        yield
    except BaseException:
        if not state.loop.attempt:
            for path in set(run.path.iterdir()) - (before or set()):
                remove(path)
            if before is None:
                run.path.rmdir()
        raise


def _write_beginning(job: Job, run: Run) -> None:
    run.path.mkdir(parents=True, exist_ok=True)
    if job.extensions:
        (run.path / "result.json").unlink(missing_ok=True)  # of an end that is the end no more
    texts = {
        "classes.json": as_json(job.splits.classes),
        "preprocessing.json": job.preprocessing.to_json(),
        "recipe.yaml": job.recipe.to_yaml(),
    }
    if job.target.audit is not None:
        texts["transfer.json"] = as_json(job.target.audit.to_json())
    for name, text in texts.items():
        with written_beside(run.path / name) as draft:
            draft.write_text(text)


def _write_weights(job: Job, path: Any) -> None:
    with written_beside(path) as draft:
        write_tensors(draft, {name: x.float() if x.is_floating_point() else x for name, x in job.weights().items()})
