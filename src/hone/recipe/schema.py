"""The recipe: every option of a run, typed, with the value that hone takes where none is stated."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from hone import checks
from hone.data.examples import Task
from hone.recipe.component import Component
from hone.recipe.text import from_yaml

COMPONENTS = ("model", "loss", "schedule", "optimizer")
#: Options that change how a run is carried out and nothing of what comes out: they may be given anew to go on with it.
ANYTIME = ("workers", "cache", "checkpoint_minutes")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every option of ``hone fit``. None leaves the choice to hone, which says and records what it chose.

    Args:
        data: folder of train/CLASS and val/CLASS, or of CLASS alone, or a CSV of path,label
        strategy: who decides what is not stated: probe (closed form on frozen features), finetune (from the probe, then
            averages), none (only what is stated, and plain defaults), or auto: what suits data and network
        budget: minutes that the run may take; decides its length, and whether there is time for more than a probe
        folds: measure a probe by so many folds of all images instead of one held-out part
        views: augmented views of each image that training sees again and again, so that a frozen part runs once
        probe_views: augmented views of each image, besides the plain one, that a probe is fitted to
        task: what is learned: classify, multilabel, regress, segment, segment-volume, classify-volume, classify-video,
            or auto to see it from the data
        val_fraction: share of each class to hold out for validation where the data has no val part; 0 for none
        skip_unreadable: leave out (and count) images that can't be read instead of stopping
        model: timm or torchvision network, or your_module:builder; other kinds of data have others (mobilenet_v2)
        pretrained: start from the library's own weights
        weights: start from this file (.safetensors, .pth, .pt) instead
        source: start from the best weights of this run of hone
        train: what trains: head, all (the default), last:N, or name patterns, comma between; stages as
            'head; 100: last:2; 300: all'
        lora: rank of low-rank adapters that train in place of the layers they stand beside; merged in what is saved
        lora_layers: which layers get one (a name or glob; may be given again); all linear and convolution layers if not
        norm: batch statistics: follow what trains around them, stay frozen, or auto: frozen where there is a source
        head: how the output layer starts: probe (fitted to the source's features), random, or auto: probe with a source
        loss: CrossEntropyLoss, FocalLoss, any torch.nn loss, or your_module:your_loss
        class_weights: auto weighs each class by the inverse of its count, or none
        schedule: any of torch's, or your_module:your_schedule (default: warm-up, then cosine to 0)
        warmup: updates of linear warm-up; below 1 a share of the run
        precision: auto, fp32, tf32, bf16 or fp16
        compile: run the network through torch.compile (default: as hone plan measured, else no)
        checkpointing: recompute activations, block by block, for less memory (default: as hone plan measured, else no)
        keep_fp32: modules that stay in float32 (a name or glob; may be given again): what hone doctor advises
        optimizer: any of torch.optim but LBFGS, SparseAdam and Muon
        lr: base learning rate
        weight_decay: of weights; norms and biases have none
        layer_decay: factor on the rate of each layer below the output layer (1)
        head_multiplier: factor on the rate of the output layer
        max_norm: clip the norm of all gradients to this; 0 for none (1, or 0 where small batches train from a probe)
        batch_size: samples a micro-batch, over all processes (32 photos); auto is the default and fit_batch
        fit_batch: find the largest micro-batch that fits the device, and accumulate as many as hold batch_size samples
        accumulate: micro-batches an update
        epochs: length of the run in passes over the data
        updates: length of the run in optimizer updates, instead of epochs
        eval_every: updates between evaluations (default: one epoch)
        patience: stop after this many evaluations without a better one
        averages: of weights, tried at the end and kept where validation says so: ema (of about the last fifth), swa
            (the mean of the last half), line (between the probe and the tuned weights, and their mean if there is swa),
            soup (of the best evaluations), several as in swa, soup, or none (default: swa, line where the strategy
            fine-tunes from a probe, ema where it fine-tunes from another head)
        metric: what "best" is decided by
        image_size: side of the square input, pixels
        train_size: side of the photos' random crops in training, pixels (default: image_size; on a CPU, where a
            fine-tuning begins at a probe and the network takes any size, about 0.8 of it)
        ignore_index: label of pixels or voxels that count nowhere
        patch_size: voxels of a patch of a volume, such as 96x96x64 (default: about the median volume, as far as the
            device goes)
        spacing: mm between the voxels of a volume, such as 1x1x2.5, or own to leave each as it is (default: the median)
        frames: frames of a clip (default: 16, or 8 of a network for images)
        sampling: which frames: uniform (spread over the video), random (the same, each at random in its part: the
            default) or dense (one after another)
        rate: frames a second of dense clips (default: the video's own)
        short: what a dense clip does that is longer than its video: loop or hold the last frame
        clips: clips a video in evaluation, their outputs averaged (1)
        crops: squares of each frame in evaluation: 1 or 3
        augment: none, light (random resized crop, flip: the default for photos), or strong (also RandAugment, mixup,
            CutMix)
        hflip: mirror half of the samples in training (default: unless class names speak of left and right, or a probe
            is worse at mirrored photos)
        sampler: shuffle, or balanced to draw each class equally often
        seed: of everything random
        device: auto, cpu, cuda, cuda:1, mps
        workers: processes that prepare batches
        layout: memory layout of inputs and weights: auto, channels_last, contiguous
        cache: bytes of decoded images to keep, such as 2GB; 0 for none
        checkpoint_minutes: write a checkpoint at least this often, and after every evaluation
        out: run folder (default: runs/NAME_OF_DATA)
    """

    data: str
    strategy: Literal["auto", "none", "probe", "finetune"] = "auto"
    budget: float | None = None
    folds: int | None = None
    views: int | None = None
    probe_views: int | None = None
    task: Literal["auto", Task] = "auto"
    val_fraction: float = 0.2
    skip_unreadable: bool = False
    model: Component = Component()
    pretrained: bool = True
    weights: str | None = None
    source: str | None = None
    train: str | None = None
    lora: int | None = None
    lora_layers: tuple[str, ...] = ()
    norm: Literal["auto", "follow", "frozen"] = "auto"
    head: Literal["auto", "probe", "random"] = "auto"
    loss: Component = Component()
    class_weights: Literal["none", "auto"] = "none"
    schedule: Component = Component()
    warmup: float | None = None
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    compile: bool | None = None
    checkpointing: bool | None = None
    keep_fp32: tuple[str, ...] = ()
    optimizer: Component = Component("AdamW")
    lr: float | None = None
    weight_decay: float | None = None
    layer_decay: float | None = None
    head_multiplier: float | None = None
    max_norm: float | None = None
    batch_size: int | None = field(default=None, metadata={"or": "auto"})
    fit_batch: bool = False
    accumulate: int = 1
    epochs: int | None = None
    updates: int | None = None
    eval_every: int | None = None
    patience: int | None = None
    averages: str | None = None
    metric: str | None = None
    image_size: int | None = None
    train_size: int | None = None
    ignore_index: int | None = None
    patch_size: str | None = None
    spacing: str | None = None
    frames: int | None = None
    sampling: Literal["random", "uniform", "dense"] | None = None
    rate: float | None = None
    short: Literal["loop", "hold"] | None = None
    clips: int | None = None
    crops: int | None = None
    augment: Literal["none", "light", "strong"] | None = None
    hflip: bool | None = None
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    seed: int = 0
    device: str = "auto"
    workers: int | None = None
    layout: Literal["auto", "channels_last", "contiguous"] = "auto"
    cache: str = "2GB"
    checkpoint_minutes: float = 5.0
    out: str | None = None

    def __post_init__(self) -> None:
        for name in COMPONENTS:
            object.__setattr__(self, name, Component.of(name, getattr(self, name)))
        for name in ("keep_fp32", "lora_layers"):
            object.__setattr__(self, name, _patterns(name, getattr(self, name)))
        checks.number("val_fraction", self.val_fraction, at_least=0, below=1)
        if str(self.batch_size) == "auto":
            object.__setattr__(self, "batch_size", None)
            object.__setattr__(self, "fit_batch", True)
        checks.integer("accumulate", self.accumulate, at_least=1)
        counts = ("lora", "batch_size", "epochs", "updates", "eval_every", "patience", "image_size", "frames", "clips")
        for name in (*counts, "views", "train_size"):
            if getattr(self, name) is not None:
                checks.integer(name, getattr(self, name), at_least=1)
        for name in ("warmup", "weight_decay", "max_norm"):
            if getattr(self, name) is not None:
                checks.number(name, getattr(self, name), at_least=0)
        if self.probe_views is not None:
            checks.integer("probe_views", self.probe_views, at_least=0)
        if self.folds is not None:
            checks.integer("folds", self.folds, at_least=2)
        for name in ("lr", "head_multiplier", "rate", "budget"):
            if getattr(self, name) is not None:
                checks.number(name, getattr(self, name), above=0)
        if self.layer_decay is not None:
            checks.number("layer_decay", self.layer_decay, above=0, at_most=1)
        checks.number("checkpoint_minutes", self.checkpoint_minutes, above=0)
        checks.integer("seed", self.seed, at_least=0)
        if self.workers is not None:
            checks.integer("workers", self.workers, at_least=0)
        if self.epochs is not None and self.updates is not None:
            raise ValueError(
                f"epochs and updates both state the length of the run ({self.epochs}, {self.updates}); give one"
            )
        if self.lora_layers and self.lora is None:
            raise ValueError(
                f"lora_layers needs the adapters' rank, got lora_layers {self.lora_layers[0]} without lora"
            )
        if read_averages(self.averages or "none") and self.lora is not None:
            raise ValueError(f"averages are of plain weights, got averages {self.averages} with lora {self.lora}")
        if self.weights is not None and self.source is not None:
            raise ValueError(f"weights and from both state the source ({self.weights}, {self.source}); give one")

    @property
    def states_length(self) -> bool:
        """Whether something says how long the run is."""
        return (self.epochs, self.updates, self.budget) != (None, None, None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in ``recipe.yaml``."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            key: value.plain() if isinstance(value, Component) else list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
        }

    def to_yaml(self) -> str:
        """The text of ``recipe.yaml``."""
        return "# hone fit --config of this file repeats the run\n" + yaml.safe_dump(self.to_dict(), sort_keys=False)


#: What can be averaged: see ``averages`` of :class:`Recipe`.
AVERAGES = ("ema", "swa", "line", "soup")


def read_averages(text: str) -> tuple[str, ...]:
    """The kinds of averages that an option names.

    Raises:
        ValueError: one of them is none.

    Example:
        >>> read_averages("ema, soup"), read_averages("none")
        (('ema', 'soup'), ())
    """
    if text == "none":
        return ()
    return tuple(checks.one_of("averages", part.strip(), AVERAGES) for part in text.split(","))


def _patterns(name: str, value: object) -> tuple[str, ...]:
    """One pattern or several, as a tuple."""
    patterns = (value,) if isinstance(value, str) else value
    if not isinstance(patterns, (tuple, list)) or not all(isinstance(each, str) and each for each in patterns):
        raise checks.invalid(name, "be a pattern of module names, or a list of them", value)
    return tuple(patterns)


def option_names() -> list[str]:
    """The names of all options, as Python and YAML spell them."""
    return [field.name for field in dataclasses.fields(Recipe)]


def recipe_from(values: Mapping[str, Any]) -> Recipe:
    """A recipe from plain values by name.

    Raises:
        ValueError: a key is unknown (the nearest are named) or missing, or a value breaks its rule.

    Example:
        >>> recipe_from({"data": "photos", "lr": 1e-3}).lr
        0.001
    """
    for key in values:
        if key not in option_names():
            raise checks.unknown("recipe: the key", key, option_names())
    if values.get("data") is None:
        raise ValueError("data must be given: a folder of train/CLASS and val/CLASS, a folder of CLASS, or a CSV")
    return Recipe(**values)


def read_recipe(path: Path) -> dict[str, Any]:
    """The values in a recipe file.

    Raises:
        ValueError: it can't be read, or is not a YAML mapping.
    """
    try:
        found = from_yaml(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"config {str(path)!r} can't be read: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise checks.invalid("config", "hold a YAML mapping of options", str(path))
    return found
