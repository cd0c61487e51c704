"""Using a run: evaluate and predict from the run folder alone."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from hone import checks
from hone.data import Examples, Splits
from hone.precision import Precision, usable_kind
from hone.recipe.folder import Run, load, open_run
from hone.recipe.kinds import kind_of
from hone.recipe.placing import place
from hone.recipe.prediction import Asked, Prediction, flip_axes
from hone.recipe.units import in_own_units
from hone.training import World, measure, pick_device, run_over


def evaluate_run(
    run: str | Path, data: str, *, split: str | None = None, device: str = "auto", flips: bool = False
) -> tuple[dict[str, float], Examples]:
    """Measure a run's best weights on other data.

    Args:
        run: run folder.
        data: data of the run's kind, with the run's classes.
        split: ``train``, ``val``, ``test`` or ``all``; by default the data's val part where it has one, else all of it.
        device: ``auto`` or a torch device.
        flips: take the mean over mirrored inputs, as in :func:`predict_run`.

    Returns:
        Metrics by name, and what they were measured on.

    Raises:
        ValueError: no run, no data, classes that the run does not know, or flips of what is not segmented.
    """
    opened = open_run(run)
    loaded = load(opened)
    recipe = dataclasses.replace(
        opened.recipe, data=data, val_fraction=0.0, skip_unreadable=False, class_weights="none"
    )
    axes = flip_axes(loaded.task) if flips else ()
    kind = kind_of(loaded.task)
    world = World(device=pick_device(device))
    examples = _part(kind.read(recipe, loaded.classes), split)
    precision = Precision(usable_kind(recipe.precision, world.device), device=world.device)
    criterion = in_own_units(kind.criterion(recipe, examples), loaded.task)
    batches = kind.evaluation_batches(recipe, examples, loaded.preprocessing, world)
    inference = kind.inference(recipe, loaded.preprocessing, loaded.classes)
    model = place(loaded.model, world.device, recipe.layout, recipe.keep_fp32)
    outputs = run_over(model, batches, criterion, precision, world, inference.mirrored(axes) if axes else inference)
    return measure(loaded.task, outputs), examples


def predict_run(
    run: str | Path,
    paths: Sequence[str],
    *,
    device: str = "auto",
    batch_size: int | None = None,
    out: str | Path | None = None,
    memory: str | None = None,
    flips: bool = False,
) -> Iterator[Prediction]:
    """What a run's best weights say of files and folders.

    Args:
        run: run folder.
        paths: files, or folders that are searched for them.
        device: ``auto`` or a torch device.
        batch_size: inputs at a time.
        out: folder for predictions that are files of their own.
        memory: bytes that one prediction may take, such as "4GB".
        flips: predict mirrored volumes (eight times the work) or images with masks (twice) too, and take the mean.

    Raises:
        ValueError: no run, a path that is not there, a file that can't be read, or flips of what is not segmented.
    """
    if batch_size is not None:
        checks.integer("batch-size", batch_size, at_least=1)
    opened = open_run(run)
    loaded = load(opened)
    axes = flip_axes(loaded.task) if flips else ()
    target = pick_device(device)
    precision = Precision(usable_kind(opened.recipe.precision, target), device=target)
    asked = Asked(target, precision, batch_size, Path(out) if out is not None else None, memory, axes)
    place(loaded.model, target, opened.recipe.layout, opened.recipe.keep_fp32)
    yield from kind_of(loaded.task).predict(loaded, opened, paths, asked)


def score_names(run: Run) -> list[str]:
    """The columns that :attr:`Prediction.scores` fill."""
    return kind_of(run.recipe.task).columns(run.classes)


def _part(splits: Splits, split: str | None) -> Examples:
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    if split is None:
        split = "val" if len(splits.val) else "all"
    if split != "all":
        if not len(parts[split]):
            raise checks.invalid("split", "be a part that the data has", split)
        return parts[split]
    return functools.reduce(Examples.joined, [part for part in parts.values() if len(part)])
