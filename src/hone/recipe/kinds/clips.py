"""Clips: classification of videos."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from hone.data import Examples, Preprocessing, Splits
from hone.data.video.batches import ClipBatches, EvalClips
from hone.data.video.clips import Clips
from hone.data.video.preprocessing import ClipPreprocessing
from hone.data.video.reading import read_clips
from hone.data.video.sampling import Sampling
from hone.models.clips import look_aside
from hone.recipe.choices import passes
from hone.recipe.closer_look import CloserLook
from hone.recipe.component import Component
from hone.recipe.folder import Loaded, Run, open_run
from hone.recipe.kinds.batch_options import batch_options
from hone.recipe.kinds.clip_details import clip_details
from hone.recipe.kinds.clip_prediction import columns, predict_clips
from hone.recipe.kinds.clip_views import ClipViews
from hone.recipe.kinds.kind import TrainingBatches
from hone.recipe.kinds.photos import class_weights, network
from hone.recipe.kinds.views import Views
from hone.recipe.prediction import Asked, Prediction
from hone.recipe.resolve import resolve_loss
from hone.recipe.schema import Recipe
from hone.recipe.source import Target, build_target
from hone.training import Inference, Outputs, World

__all__ = ["columns", "network"]

#: On a processor a network for images that sees motion; elsewhere one that has seen videos.
_CPU_MODEL, _MODEL = Component("inflated:mobilenet_v2"), Component("torchvision:r2plus1d_18")
_BATCH_SIZE = 8
#: Frames of a clip: what networks for clips were trained on, and what those for images are given.
_FRAMES, _FRAMES_OF_IMAGES = 16, 8
#: Side of a frame that a processor is given, pixels.
_CPU_SIZE = 112
#: On a processor a run sees about so many clips, each at least and at most so many times.
_CPU_CLIPS, _CPU_EPOCHS = 600, (3, 10)


def read(recipe: Recipe, classes: Sequence[str] | None = None) -> Splits:
    """Folders of classes, of video files and folders of pictures."""
    return read_clips(
        recipe.data,
        val_fraction=recipe.val_fraction,
        seed=recipe.seed,
        skip_unreadable=recipe.skip_unreadable,
        classes=classes,
    )


def prefer(recipe: Recipe, splits: Splits | None, device: torch.device) -> Recipe:
    """A network that the device can train, as many frames as it knows, spread over the video."""
    source = open_run(recipe.source).recipe if recipe.source is not None else None
    model = source.model if source is not None else recipe.model
    if model == Component():
        model = _CPU_MODEL if device.type == "cpu" else _MODEL
    name = str(model.name)
    usual = _FRAMES_OF_IMAGES if name.startswith(("frames:", "inflated:")) else _FRAMES
    epochs = recipe.epochs
    if device.type == "cpu" and splits is not None and recipe.updates is None and epochs is None:
        epochs = passes(_CPU_CLIPS, len(splits.train), *_CPU_EPOCHS)
    return dataclasses.replace(
        recipe,
        model=recipe.model if source is not None else model,
        batch_size=recipe.batch_size or _BATCH_SIZE,
        augment=recipe.augment or "light",
        frames=recipe.frames or (source.frames if source is not None else None) or usual,
        sampling=recipe.sampling or ("dense" if recipe.rate is not None else "random"),
        short=recipe.short or "loop",
        clips=recipe.clips or 1,
        crops=recipe.crops or 1,
        epochs=epochs,
    )


def criterion(recipe: Recipe, examples: Examples) -> Callable[..., Tensor]:
    """Cross-entropy, unless the recipe names another."""
    weight = None
    if recipe.class_weights == "auto":
        weight = class_weights(dataclasses.replace(examples, task="classify"))
    return resolve_loss(recipe.loss, "classify", weight)


def target(recipe: Recipe, examples: Examples, *, with_weights: bool = True) -> Target:
    """A network for clips, of torchvision, of an image network, or the user's."""
    made = build_target(recipe, len(examples.classes), with_weights=with_weights)
    is_of_images = made.audit is None or any("inflated" in row.reason for row in made.audit.rows)
    if is_of_images and recipe.model.given is None:
        look_aside(made.model)
    return made


def preprocessing(recipe: Recipe, examples: Examples, target: Target, device: torch.device) -> ClipPreprocessing:
    """A frame as the network's library prepares it, at the run's size; and which frames."""
    own: Any = target.preprocessing
    image: Preprocessing = own.image if isinstance(own, ClipPreprocessing) else own
    size = recipe.image_size or image.image_size
    if recipe.image_size is None and device.type == "cpu" and not target.one_size:
        size = min(size, _CPU_SIZE)
    sampling = Sampling(
        int(recipe.frames or _FRAMES),
        recipe.sampling or "random",
        recipe.rate,
        recipe.short or "loop",
        recipe.clips or 1,
    )
    return ClipPreprocessing(image.with_size(size), sampling, recipe.crops or 1, cast(Clips, examples).seconds())


def settled(preprocessing: ClipPreprocessing) -> dict[str, Any]:
    """The size of a frame."""
    return {"image_size": preprocessing.image_size}


def read_preprocessing(text: str) -> ClipPreprocessing:
    """From ``preprocessing.json``."""
    return ClipPreprocessing.from_json(text)


def training_batches(recipe: Recipe, examples: Examples, preprocessing: ClipPreprocessing, world: World) -> ClipBatches:
    """Clips as the recipe draws and augments them."""
    return ClipBatches(
        cast(Clips, examples),
        preprocessing,
        accumulate=recipe.accumulate,
        seed=recipe.seed,
        augment=recipe.augment or "light",
        hflip=recipe.hflip,
        sampler=recipe.sampler,
        **batch_options(recipe, world),
    )


def evaluation_batches(recipe: Recipe, examples: Examples, preprocessing: ClipPreprocessing, world: World) -> EvalClips:
    """All views of each video."""
    return EvalClips(cast(Clips, examples), preprocessing, **batch_options(recipe, world))


def views(recipe: Recipe, examples: Examples, preprocessing: ClipPreprocessing, world: World) -> Views:
    """The inputs of training where they are the same in every epoch: what a frozen part can run over once."""
    clips = cast(Clips, examples)
    return Views(recipe, clips, preprocessing, ClipViews(recipe, clips, preprocessing, world.device), world)


def trial_batch(
    recipe: Recipe,
    examples: Examples,
    preprocessing: ClipPreprocessing,
    batches: TrainingBatches,
    device: torch.device,
) -> tuple[Tensor, Tensor, str]:
    """Blank clips; targets as training has them."""
    targets = examples.targets[:2].to(device)
    if recipe.augment == "strong":
        targets = torch.nn.functional.one_hot(targets, len(examples.classes)).float()
    return (
        torch.zeros(len(targets), *preprocessing.shape, device=device),
        targets,
        f"clips of {preprocessing.describe()}",
    )


def inference(recipe: Recipe, preprocessing: ClipPreprocessing, classes: Sequence[str]) -> Inference:
    """The plain call, or the mean over a video's clips and crops."""
    return (
        Inference(functools.partial(mean_of_views, views=preprocessing.views))
        if preprocessing.views > 1
        else Inference()
    )


def mean_of_views(model: nn.Module, inputs: Tensor, views: int) -> Tensor:
    """The logarithm of the mean probability over each video's views: (n x views, ...) -> (n, C).

    Example:
        >>> network = nn.Flatten()
        >>> mean_of_views(network, torch.tensor([[0.0, 9.0], [9.0, 0.0]]), views=2).exp()
        tensor([[0.5000, 0.5000]])
    """
    logits: Tensor = model(inputs)
    shares = logits.float().log_softmax(1).view(-1, views, logits.shape[1])
    return shares.logsumexp(1) - math.log(views)


def details(outputs: Outputs, examples: Examples, look: CloserLook | None = None) -> dict[str, Any]:
    """Confusion and mistakes, and the best and worst clips as strips of film."""
    return clip_details(outputs, cast(Clips, examples), look)


def predict(loaded: Loaded, run: Run, paths: Sequence[str], asked: Asked) -> Iterator[Prediction]:
    """A prediction for each video; with a folder asked for, one for each moment, too."""
    precision = asked.precision
    infer = inference(run.recipe, loaded.preprocessing, loaded.classes).infer

    def probs(inputs: Tensor) -> Tensor:
        with torch.inference_mode(), precision.autocast():
            logits = infer(loaded.model, inputs)
        return logits.float().softmax(1).cpu()

    return predict_clips(loaded, paths, asked, probs, asked.batch_size or _BATCH_SIZE)
