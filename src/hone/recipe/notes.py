"""The quiet lines before a run: what was understood and what was decided."""

from __future__ import annotations

from collections.abc import Iterator

from hone.recipe.choices import warmup_updates
from hone.recipe.job import Job
from hone.report import Layer
from hone.transfer import layer_rows


def notes(job: Job) -> Iterator[tuple[str, str]]:
    """(subject, text) for the terminal and the report.

    Args:
        job: as built, before its first update.
    """
    recipe = job.recipe
    for line in job.splits.text().splitlines():
        yield "data", line
    yield "model", f"{job.target.name}, {_weights(job)}"
    trained, frozen = layers(job)
    moving, still = (sum(layer.parameters for layer in part) for part in (trained, frozen))
    share = f"{moving:,} of {moving + still:,} parameters"
    fits = recipe.strategy == "probe"
    start = "output layer from a probe, then " if recipe.head == "probe" and not fits else ""
    rest = ", batch statistics frozen" if recipe.norm == "frozen" else ""
    yield "trains", f"{start}{recipe.train}: {share}{rest}"
    yield from job.remarks
    if job.recipe.strategy != "probe":
        yield "schedule", _schedule(job)
    crops = f" (crops of {recipe.train_size} px in training)" if recipe.train_size is not None else ""
    size = f"{job.preprocessing.describe()}{crops}, batch {recipe.batch_size}"
    kept = f" but {' '.join(recipe.keep_fp32)}" if recipe.keep_fp32 else ""
    times = f" x {recipe.accumulate}" if recipe.accumulate > 1 else ""
    yield "precision", f"{job.precision.kind}{kept}, {recipe.layout}, {size}{times}"
    if job.world.size > 1:
        each = int(recipe.batch_size or 1) // job.world.size
        yield "processes", f"{job.world.size}, each with {each} of a batch of {recipe.batch_size}"


def layers(job: Job) -> tuple[list[Layer], list[Layer]]:
    """The blocks with the parameters of each that train, and with those that do not."""
    parameters = dict(job.model.named_parameters())
    trained: list[Layer] = []
    frozen: list[Layer] = []
    for row in layer_rows(job.model):
        for part, moves in ((trained, True), (frozen, False)):
            held = [parameters[name] for name in row.parameters if parameters[name].requires_grad == moves]
            if held:
                part.append(Layer(row.name, sum(p.numel() for p in held)))
    return trained, frozen


def _weights(job: Job) -> str:
    target = job.target
    return f"weights {target.origin}: {target.audit.summary()}" if target.audit is not None else "random weights"


def _schedule(job: Job) -> str:
    recipe, planned = job.recipe, int(job.recipe.updates or 0)
    steps = warmup_updates(float(recipe.warmup or 0.0), planned)
    name = recipe.schedule.name or "cosine to 0"
    warm = f"warm-up {steps} updates, " if steps else ""
    later = "".join(f"; {extension}" for extension in job.extensions)
    bound = "" if recipe.max_norm else ", gradients as they are"
    return f"{warm}{name} over {planned} updates, {recipe.optimizer.name} lr {recipe.lr:g}{bound}{later}"
