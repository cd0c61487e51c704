"""What a run ends with: ``result.json`` and the report, from the best weights' outputs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from hone.data import Examples
from hone.recipe.closer_look import CloserLook
from hone.recipe.folder import Run
from hone.recipe.job import Job
from hone.recipe.notes import layers, notes
from hone.recipe.state import RunState
from hone.report import Best, Layer, Result, machine_facts, write_report
from hone.training import Outputs, is_better, measure, run_over


def conclude(job: Job, run: Run, state: RunState, outputs: Outputs | None, *, interrupted: bool) -> Result:
    """Evaluate the best weights where that has not been done, and write ``result.json`` and ``report.html``.

    Args:
        job: as it was carried out; its model is left with the best weights.
        run: where to write.
        state: where it stands.
        outputs: what the best weights said of the validation data, where this sitting saw it.
        interrupted: whether there is more to do.
    """
    blocks = layers(job)  # before the best weights take the adapters out
    examples, measured_on = job.splits.val, "val"
    if not interrupted and len(job.splits.test):
        examples, outputs, measured_on = job.splits.test, None, "test"
    if outputs is None and len(examples) and not interrupted and state.best.update is not None:
        outputs = _of_best(job, run, examples)
    result = _result(job, run, state, examples, outputs, blocks, interrupted, measured_on)
    if job.world.is_first:
        result.write(run.path / "result.json")
        write_report(run.path)
    return result


def _of_best(job: Job, run: Run, examples: Examples) -> Outputs:
    job.world.wait()  # until the first process has written them
    job.restore(load_file(run.best))
    criterion = job.criterion if job.units is None else job.units.of_restored(job.criterion)
    return run_over(job.model, job.evaluation(examples), criterion, job.precision, job.world, job.inference)


def _result(
    job: Job,
    run: Run,
    state: RunState,
    examples: Examples,
    outputs: Outputs | None,
    blocks: tuple[list[Layer], list[Layer]],
    interrupted: bool,
    measured_on: str,
) -> Result:
    recipe, metric = job.recipe, str(job.recipe.metric)
    best = state.best
    trained, frozen = blocks
    samples = {name: len(part) for name, part in vars(job.splits).items() if isinstance(part, Examples) and len(part)}
    look = CloserLook(job, run, examples) if not interrupted else None
    found = job.kind.details(outputs, examples, look) if outputs is not None and job.world.is_first else {}
    spent = max(state.seconds - state.evaluating, 1e-9)
    return Result(
        task=job.splits.task,
        metric=metric,
        higher_is_better=is_better(metric, 1.0, 0.0),
        best=Best(best.update, best.value) if best.update is not None and best.value is not None else None,
        final=measure(job.splits.task, outputs) | found.pop("final", {}) if outputs is not None else {},
        epochs=state.loop.attempt / job.train.updates_per_epoch,
        updates=state.loop.update,
        attempts=state.loop.attempt,
        skipped=state.skipped,
        baselines=state.baselines,
        seconds=state.seconds,
        samples_per_second=state.loop.attempt * job.samples_an_update / spent,
        precision=job.precision.kind,
        model=str(job.target.name),
        weights=job.target.origin,
        data=recipe.data,
        samples=samples,
        trained=trained,
        frozen=frozen,
        machine=machine_facts(_device_name(job.world.device)),
        command=shlex.join(["hone", *sys.argv[1:]]) if Path(sys.argv[0]).name in ("hone", "__main__.py") else "",
        interrupted=interrupted,
        measured_on=measured_on,
        notes=[f"{subject}: {text}" for subject, text in notes(job)],
        **found,
    )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""
