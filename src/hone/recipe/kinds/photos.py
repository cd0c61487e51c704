"""Photos: classification, several labels, regression."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hone.data import EvalBatches, Examples, Preprocessing, Splits, TrainBatches, read_examples
from hone.data.find import find_photos
from hone.models import build_model, find_model
from hone.recipe.choices import image_size
from hone.recipe.closer_look import CloserLook
from hone.recipe.component import Component
from hone.recipe.folder import Loaded, Run
from hone.recipe.kinds.batch_options import batch_options
from hone.recipe.kinds.kind import TrainingBatches
from hone.recipe.kinds.views import PhotoViews, Views
from hone.recipe.prediction import Asked, Prediction
from hone.recipe.resolve import resolve_loss
from hone.recipe.schema import Recipe
from hone.recipe.source import Target, build_target
from hone.report import Mistake, class_scores, confusion_counts, most_wrong, sample_predictions, score
from hone.training import Inference, Outputs, World
from hone.transfer import find_head, replace_head

_MODEL = Component("mobilenet_v2")
_BATCH_SIZE = 32
_LABEL_ABOVE = 0.5


def read(recipe: Recipe, classes: Sequence[str] | None = None) -> Splits:
    """Folders of classes, or a CSV."""
    return read_examples(
        recipe.data,
        task=recipe.task,
        val_fraction=recipe.val_fraction,
        seed=recipe.seed,
        skip_unreadable=recipe.skip_unreadable,
        classes=classes,
    )


def prefer(recipe: Recipe, splits: Splits | None, device: torch.device) -> Recipe:
    """A small network that a laptop can train, and augmentation that stays near the photo."""
    return dataclasses.replace(
        recipe,
        model=_MODEL if recipe.model == Component() and recipe.source is None else recipe.model,
        batch_size=recipe.batch_size or _BATCH_SIZE,
        augment=recipe.augment or "light",
    )


def criterion(recipe: Recipe, examples: Examples) -> Callable[..., Tensor]:
    """Cross-entropy, one of each label, or squared distance, unless the recipe names another."""
    weight = class_weights(examples) if recipe.class_weights == "auto" else None
    return resolve_loss(recipe.loss, examples.task, weight)


def class_weights(examples: Examples) -> Tensor:
    """Weights that make every class count alike: ``w_c = n / (C n_c)``.

    Raises:
        ValueError: the task does not give each sample one class.
    """
    if examples.task != "classify":
        raise ValueError(f"class_weights auto needs one class a sample, and this task is {examples.task}")
    counts = examples.counts().float()
    return counts.sum() / (len(counts) * counts.clamp(min=1))


def target(recipe: Recipe, examples: Examples, *, with_weights: bool = True) -> Target:
    """A classifier of timm, torchvision or the user's."""
    return build_target(recipe, outputs_of(examples), with_weights=with_weights)


def outputs_of(examples: Examples) -> int:
    """The size of the output layer: classes, labels, or numbers to predict."""
    if examples.classes:
        return len(examples.classes)
    return 1 if examples.targets.ndim == 1 else int(examples.targets.shape[1])


def preprocessing(recipe: Recipe, examples: Examples, target: Target, device: torch.device) -> Preprocessing:
    """As the network's library prepares a photo, at the run's size."""
    size = image_size(recipe.image_size, target.preprocessing.image_size, target.one_size, device)
    return target.preprocessing.with_size(size)


def settled(preprocessing: Preprocessing) -> dict[str, Any]:
    """The input's size."""
    return {"image_size": preprocessing.image_size}


def read_preprocessing(text: str) -> Preprocessing:
    """From ``preprocessing.json``."""
    return Preprocessing.from_json(text)


def training_batches(recipe: Recipe, examples: Examples, preprocessing: Preprocessing, world: World) -> TrainBatches:
    """Micro-batches as the recipe draws and augments them."""
    return TrainBatches(
        examples,
        preprocessing,
        accumulate=recipe.accumulate,
        seed=recipe.seed,
        augment=recipe.augment or "light",
        hflip=recipe.hflip,
        sampler=recipe.sampler,
        size=recipe.train_size,
        **batch_options(recipe, world),
    )


def evaluation_batches(recipe: Recipe, examples: Examples, preprocessing: Preprocessing, world: World) -> EvalBatches:
    """Centre crops."""
    return EvalBatches(examples, preprocessing, **batch_options(recipe, world))


def views(recipe: Recipe, examples: Examples, preprocessing: Preprocessing, world: World) -> Views:
    """The inputs of training where they are the same in every epoch: what a frozen part can run over once."""
    made = PhotoViews(recipe, examples, preprocessing, world.device)
    return Views(recipe, examples, preprocessing, made, world)


def trial_batch(
    recipe: Recipe, examples: Examples, preprocessing: Preprocessing, batches: TrainingBatches, device: torch.device
) -> tuple[Tensor, Tensor, str]:
    """Blank photos; targets as training has them: mixed ones are a share of each class."""
    size, targets = preprocessing.image_size, examples.targets[:2].to(device)
    if examples.task == "classify" and recipe.augment == "strong":
        targets = torch.nn.functional.one_hot(targets, len(examples.classes)).float()
    return torch.zeros(len(targets), 3, size, size, device=device), targets, f"images of {size} px"


def inference(recipe: Recipe, preprocessing: Any, classes: Sequence[str]) -> Inference:
    """The plain call; logits are kept."""
    return Inference()


def details(outputs: Outputs, examples: Examples, look: CloserLook | None = None) -> dict[str, Any]:
    """Confusion and mistakes, scores of labels, or pairs of numbers."""
    if examples.task == "multilabel":
        return {"per_class": _of_labels(outputs.logits > 0, outputs.targets > 0, examples.classes)}
    if examples.task == "regress":
        truth = outputs.targets.reshape(len(outputs.targets), -1)
        predicted = outputs.logits.reshape(len(outputs.logits), -1)
        return {"predictions": sample_predictions(truth[:, 0].tolist(), predicted[:, 0].tolist())}
    return class_details(outputs, examples)


def class_details(outputs: Outputs, examples: Examples) -> dict[str, Any]:
    """Confusion, scores a class, and the most confident mistakes, for any kind of sample that has one class."""
    confidence, predicted = outputs.logits.softmax(1).max(1)
    truth, names = outputs.targets, examples.classes
    confusion = confusion_counts(truth.tolist(), predicted.tolist(), len(names))
    mistakes = [
        Mistake(
            _place(examples.paths[int(outputs.indices[i])]),
            names[int(truth[i])],
            names[int(predicted[i])],
            float(confidence[i]),
        )
        for i in (predicted != truth).nonzero()[:, 0].tolist()
    ]
    return {"confusion": confusion, "per_class": class_scores(confusion, names), "mistakes": most_wrong(mistakes)}


def _of_labels(predicted: Tensor, truth: Tensor, names: list[str]) -> list[Any]:
    hits, claimed, support = ((predicted & truth).sum(0), predicted.sum(0), truth.sum(0))
    return [
        score(name, hits=int(hits[i]), claimed=int(claimed[i]), support=int(support[i])) for i, name in enumerate(names)
    ]


def _place(path: str) -> str:
    """A file's absolute path, so that a report written elsewhere still finds it; other names as they are."""
    return str(Path(path).resolve()) if Path(path).exists() else path


def network(run: Run, state: dict[str, Tensor]) -> nn.Module:
    """The recipe's network with an output layer of the saved size."""
    recipe = run.recipe
    model = build_model(find_model(str(recipe.model.name)), pretrained=False, options=recipe.model.options)
    return replace_head(model, len(state[f"{find_head(model)[0].name}.weight"]))


def predict(loaded: Loaded, run: Run, paths: Sequence[str], asked: Asked) -> Iterator[Prediction]:
    """A prediction for each photo."""
    photos = find_photos(paths)
    examples = Examples(photos, torch.zeros(len(photos)), loaded.classes, loaded.task)
    precision = asked.precision
    size = asked.batch_size or _BATCH_SIZE
    for inputs, _, indices in EvalBatches(
        examples, loaded.preprocessing, size, device=asked.device, channels_last=True
    ):
        with torch.inference_mode(), precision.autocast():
            logits = loaded.model(inputs)
        for index, row in zip(indices.tolist(), logits.float().cpu(), strict=True):
            yield _prediction(examples.paths[index], row, loaded)


def _prediction(path: str, logits: Tensor, loaded: Loaded) -> Prediction:
    if loaded.task == "multilabel":
        probs = logits.sigmoid()
        names = [name for name, p in zip(loaded.classes, probs.tolist(), strict=True) if p > _LABEL_ABOVE]
        return Prediction(path, ";".join(names), None, probs.tolist())
    if loaded.task == "regress":
        values = logits.reshape(-1).tolist()
        return Prediction(path, ";".join(f"{value:.6g}" for value in values), None, values)
    return class_prediction(path, logits.softmax(0), loaded.classes)


def class_prediction(path: str, probs: Tensor, classes: Sequence[str]) -> Prediction:
    """The most likely class of one sample."""
    best = int(probs.argmax())
    return Prediction(path, classes[best], float(probs[best]), probs.tolist())


def columns(classes: Sequence[str]) -> list[str]:
    """Classes, labels, or the number."""
    return list(classes) or ["value"]
