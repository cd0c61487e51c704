"""What a run ends with: ``result.json`` and the report, from the best weights' outputs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from hone.data import Examples
from hone.recipe.build import Job
from hone.recipe.folder import Run
from hone.recipe.notes import layers, notes
from hone.recipe.state import RunState
from hone.report import (
    Best,
    Mistake,
    Result,
    class_scores,
    confusion_counts,
    machine_facts,
    most_wrong,
    sample_predictions,
    score,
    write_report,
)
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
    examples, measured_on = job.splits.val, "val"
    if not interrupted and len(job.splits.test):
        examples, outputs, measured_on = job.splits.test, None, "test"
    if outputs is None and len(examples) and not interrupted and state.best.update is not None:
        outputs = _of_best(job, run, examples)
    result = _result(job, state, examples, outputs, interrupted, measured_on)
    if job.world.is_first:
        result.write(run.path / "result.json")
        write_report(run.path)
    return result


def details(task: str, outputs: Outputs, examples: Examples) -> dict[str, Any]:
    """What a result says about single classes and samples, by task."""
    if task == "classify":
        return _of_classes(outputs, examples)
    if task == "multilabel":
        return {"per_class": _of_labels(outputs.logits > 0, outputs.targets > 0, examples.classes)}
    truth, predicted = (
        outputs.targets.reshape(len(outputs.targets), -1),
        outputs.logits.reshape(len(outputs.logits), -1),
    )
    return {"predictions": sample_predictions(truth[:, 0].tolist(), predicted[:, 0].tolist())}


def _of_best(job: Job, run: Run, examples: Examples) -> Outputs:
    job.world.wait()  # until the first process has written them
    job.model.load_state_dict(load_file(run.best))
    criterion = job.criterion if job.units is None else job.units.of_restored(job.criterion)
    return run_over(job.model, job.evaluation(examples), criterion, job.precision, job.world)


def _result(
    job: Job, state: RunState, examples: Examples, outputs: Outputs | None, interrupted: bool, measured_on: str
) -> Result:
    recipe, metric = job.recipe, str(job.recipe.metric)
    best = state.best
    trained, frozen = layers(job)
    samples = {name: len(part) for name, part in vars(job.splits).items() if isinstance(part, Examples) and len(part)}
    spent = max(state.seconds - state.evaluating, 1e-9)
    return Result(
        task=job.splits.task,
        metric=metric,
        higher_is_better=is_better(metric, 1.0, 0.0),
        best=Best(best.update, best.value) if best.update is not None and best.value is not None else None,
        final=measure(job.splits.task, outputs) if outputs is not None else {},
        epochs=state.loop.attempt / job.train.updates_per_epoch,
        updates=state.loop.update,
        attempts=state.loop.attempt,
        skipped=state.skipped,
        baselines=state.baselines,
        seconds=state.seconds,
        samples_per_second=state.loop.attempt * recipe.batch_size * recipe.accumulate / spent,
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
        **(details(job.splits.task, outputs, examples) if outputs is not None else {}),
    )


def _place(path: str) -> str:
    """A photo's absolute path, so that a report written elsewhere still finds it; other names as they are."""
    return str(Path(path).resolve()) if Path(path).exists() else path


def _of_classes(outputs: Outputs, examples: Examples) -> dict[str, Any]:
    probs = outputs.logits.softmax(1)
    confidence, predicted = probs.max(1)
    truth = outputs.targets
    confusion = confusion_counts(truth.tolist(), predicted.tolist(), len(examples.classes))
    wrong = (predicted != truth).nonzero()[:, 0].tolist()
    names = examples.classes
    mistakes = [
        Mistake(
            _place(examples.paths[int(outputs.indices[i])]),
            names[int(truth[i])],
            names[int(predicted[i])],
            float(confidence[i]),
        )
        for i in wrong
    ]
    return {"confusion": confusion, "per_class": class_scores(confusion, names), "mistakes": most_wrong(mistakes)}


def _of_labels(predicted: Tensor, truth: Tensor, names: list[str]) -> list[Any]:
    hits, claimed, support = ((predicted & truth).sum(0), predicted.sum(0), truth.sum(0))
    return [
        score(name, hits=int(hits[i]), claimed=int(claimed[i]), support=int(support[i])) for i, name in enumerate(names)
    ]


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""
