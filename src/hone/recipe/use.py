"""Using a run: evaluate and predict from the run folder alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hone import checks
from hone.data import EvalBatches, Examples, Splits, read_examples
from hone.data.find import find_photos
from hone.precision import Precision, keep_fp32
from hone.recipe.build import evaluation_batches
from hone.recipe.folder import Loaded, Run, load, open_run
from hone.recipe.resolve import resolve_loss
from hone.recipe.units import in_own_units
from hone.training import World, measure, pick_device, run_over

_LABEL_ABOVE = 0.5


@dataclass(frozen=True)
class Prediction:
    """What a model says of one photo.

    Attributes:
        path: the photo.
        label: the class; the labels above probability 0.5 with ``;`` between them; or the number.
        confidence: probability of ``label``; None where there is none.
        scores: the probability of every class or label; the numbers of a regression.
    """

    path: str
    label: str
    confidence: float | None
    scores: list[float]


def evaluate_run(
    run: str | Path, data: str, *, split: str | None = None, device: str = "auto"
) -> tuple[dict[str, float], int]:
    """Measure a run's best weights on other data.

    Args:
        run: run folder.
        data: folder or CSV with the run's classes.
        split: ``train``, ``val``, ``test`` or ``all``; by default the data's val part where it has one, else all of it.
        device: ``auto`` or a torch device.

    Returns:
        Metrics by name, and the number of photos.

    Raises:
        ValueError: no run, no data, or classes that the run does not know.
    """
    opened = open_run(run)
    loaded = load(opened)
    place = pick_device(device)
    examples = _with_classes(_part(read_examples(data, task=loaded.task, val_fraction=0.0), split), loaded)
    recipe = opened.recipe
    precision = Precision(recipe.precision, device=place)
    criterion = in_own_units(resolve_loss(recipe.loss, loaded.task), loaded.task)
    batches = evaluation_batches(recipe, examples, loaded.preprocessing, World(device=place))
    outputs = run_over(_placed(loaded, opened, place), batches, criterion, precision, World(device=place))
    return measure(loaded.task, outputs), len(examples)


def predict_run(
    run: str | Path, paths: Sequence[str | Path], *, device: str = "auto", batch_size: int = 32
) -> Iterator[Prediction]:
    """Predict photos, in the order given; a folder stands for all photos below it.

    Args:
        run: run folder.
        paths: photos and folders.
        device: ``auto`` or a torch device.
        batch_size: photos at a time: the memory needed does not grow with their number.

    Raises:
        ValueError: no run, no photos, or a photo that can't be read.
    """
    opened = open_run(run)
    loaded = load(opened)
    place = pick_device(device)
    photos = find_photos(paths)
    examples = Examples(photos, torch.zeros(len(photos)), loaded.classes, loaded.task)
    precision = Precision(opened.recipe.precision, device=place)
    model = _placed(loaded, opened, place)
    batches = EvalBatches(examples, loaded.preprocessing, batch_size, device=place, channels_last=True)
    for inputs, _, indices in batches:
        with torch.inference_mode(), precision.autocast():
            logits = model(inputs)
        for index, row in zip(indices.tolist(), logits.float().cpu(), strict=True):
            yield _prediction(examples.paths[index], row, loaded)


def _prediction(path: str, logits: Tensor, loaded: Loaded) -> Prediction:
    if loaded.task == "classify":
        probs = logits.softmax(0)
        best = int(probs.argmax())
        return Prediction(path, loaded.classes[best], float(probs[best]), probs.tolist())
    if loaded.task == "multilabel":
        probs = logits.sigmoid()
        names = [name for name, p in zip(loaded.classes, probs.tolist(), strict=True) if p > _LABEL_ABOVE]
        return Prediction(path, ";".join(names), None, probs.tolist())
    values = logits.reshape(-1).tolist()
    return Prediction(path, ";".join(f"{value:.6g}" for value in values), None, values)


def _part(splits: Splits, split: str | None) -> Examples:
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    if split is None:
        split = "val" if len(splits.val) else "all"
    if split != "all":
        if not len(parts[split]):
            raise checks.invalid("split", "be a part that the data has", split)
        return parts[split]
    whole = [part for part in parts.values() if len(part)]
    paths = [path for part in whole for path in part.paths]
    return Examples(paths, torch.cat([part.targets for part in whole]), splits.classes, splits.task)


def _with_classes(examples: Examples, loaded: Loaded) -> Examples:
    """The examples with targets counted in the run's classes."""
    if examples.classes == loaded.classes or loaded.task == "regress":
        return examples
    strange = [name for name in examples.classes if name not in loaded.classes]
    if strange:
        raise ValueError(
            f"DATA has classes that the run does not know: {', '.join(strange)}; it knows {', '.join(loaded.classes)}"
        )
    places = torch.tensor([loaded.classes.index(name) for name in examples.classes])
    if loaded.task == "classify":
        targets = places[examples.targets]
    else:
        targets = torch.zeros(len(examples), len(loaded.classes))
        targets[:, places] = examples.targets
    return dataclasses.replace(examples, targets=targets, classes=loaded.classes)


def _placed(loaded: Loaded, run: Run, device: torch.device) -> torch.nn.Module:
    """The model where it is used, in the numbers in which it was trained."""
    keep_fp32(loaded.model, *run.recipe.keep_fp32)
    return loaded.model.to(device).to(memory_format=torch.channels_last)


def score_names(run: Run) -> list[str]:
    """The columns that :attr:`Prediction.scores` fill."""
    return run.classes or ["value"]
