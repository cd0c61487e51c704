"""Who decides what is not stated: the choice between a probe and fine-tuning, and what either of them takes."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import torch
from torch import nn

from hone.data import Examples, Splits
from hone.precision import is_fast_bf16
from hone.recipe.choices import crop_size, head_start, image_size, passes
from hone.recipe.schema import Recipe
from hone.recipe.source import Target
from hone.training import World
from hone.transfer.layers import is_stateful_norm
from hone.transfer.probe import TASKS, can_probe

_Wanted = Literal["auto", "none", "probe", "finetune"]
#: Up to so many images a class a probe on fixed features is as good as anything, and takes seconds.
_FEW = 10
#: For a task without classes, images in all.
_FEW_NUMBERS = 50
#: Few photos say more in several views: so many each at most, and so many in all on a CPU and elsewhere.
_PROBE_VIEWS, _VIEWED = 8, {"cpu": 300, "other": 4_000}
#: On a CPU a run sees about so many images, more where bf16 is native, at least and at most so often; elsewhere
#: it has the updates of `choices`.
_CPU_IMAGES, _CPU_EPOCHS = {"fp32": 1_600, "bf16": 3_200}, (3, 8)
#: Samples of an update where a whole network trains from a probe on a CPU, by a rule that bounds its steps.
_SMALL_BATCH, _ADAPTIVE = 8, ("Adam", "AdamW", "NAdam", "RAdam")
#: Rates fall by this factor a block where attention blocks repeat (BEiT, MAE); a convolutional trunk keeps one rate.
_BLOCK_DECAY = 0.75
#: Options that only training has: who states one wants to train.
_OF_TRAINING = (
    "epochs",
    "updates",
    "lr",
    "train",
    "lora",
    "weight_decay",
    "layer_decay",
    "patience",
    "averages",
    "augment",
)


def choose(
    stated: Recipe, recipe: Recipe, target: Target, splits: Splits, world: World, *, trains: bool = False
) -> tuple[Recipe, str]:
    """Decide how to get the most out of these images and this network; what the user stated is never changed.

    Args:
        stated: the recipe as the user gave it.
        recipe: the same with what the kind of data prefers.
        target: the network.
        splits: the data.
        world: where it runs.
        trains: a probe, which makes no updates, is chosen only where it is stated.

    Returns:
        The recipe with ``strategy`` decided and what follows from it, and why, in one line; empty where nothing was
        decided.

    Raises:
        ValueError: what is stated contradicts itself: a probe with epochs, without a linear output layer or a source,
            or folds without a probe.
    """
    wanted, why = stated.strategy, "as stated"
    if wanted == "auto":
        wanted, why = _judged(stated, target, splits, trains)
    _check(stated, wanted, target, splits, trains)
    if wanted == "none":
        return dataclasses.replace(recipe, strategy="none"), "" if stated.strategy == "none" else why
    recipe = dataclasses.replace(recipe, probe_views=probe_views(stated, splits.train, world.device))
    if wanted == "probe":
        chosen = dataclasses.replace(recipe, strategy="probe", head="probe", train=recipe.train or "head", updates=1)
        return chosen, f"probe: the output layer in closed form, {why}"
    taken = _of_finetuning(stated, recipe, target, splits, world)
    chosen = dataclasses.replace(recipe, strategy="finetune", **taken)  # type: ignore[arg-type]
    start = "probe, then fine-tune from it" if can_probe(target.model, splits.task) else "fine-tune"
    tries = "; averages are kept where val says so" if chosen.averages not in (None, "none") else ""
    return chosen, f"{start}: {why}{tries}"


def probe_views(stated: Recipe, examples: Examples, device: torch.device) -> int:
    """How many augmented views of each photo a probe is fitted to, besides the photo as it is.

    Example:
        >>> examples = Examples(["photo"] * 100, torch.zeros(100, dtype=torch.int64), ["daisy"])
        >>> probe_views(Recipe(data="flowers"), examples, torch.device("cpu"))
        3
    """
    if stated.probe_views is not None:
        return stated.probe_views
    if stated.augment == "none" or stated.folds is not None:
        return 0
    return min(_PROBE_VIEWS, _VIEWED["cpu" if device.type == "cpu" else "other"] // max(len(examples), 1))


def describe(splits: Splits) -> str:
    """How many examples of how many kinds: what the choice goes by.

    Example:
        >>> examples = Examples(["a", "b", "c"], torch.tensor([0, 1, 1]), ["daisy", "rose"])
        >>> describe(Splits(examples, examples.take([]), examples.take([])))
        '2 classes x 2 photos'
    """
    examples = splits.train
    if not examples.classes:
        return f"{len(examples):,} {examples.noun}"
    word = "labels" if examples.task == "multilabel" else "classes"
    return f"{len(examples.classes)} {word} x {math.ceil(len(examples) / len(examples.classes)):,} {examples.noun}"


def _judged(stated: Recipe, target: Target, splits: Splits, trains: bool) -> tuple[_Wanted, str]:
    if splits.task not in TASKS:
        return "none", ""  # masks, volumes and clips have choices of their own
    if not target.origin:
        return "none", "random weights have no features to build on: plain training"
    asked = [name for name in _OF_TRAINING if getattr(stated, name) is not None]
    if stated.folds is not None and can_probe(target.model, splits.task) and not trains:
        return "probe", f"{stated.folds} folds of {describe(splits)}"
    if _is_small(splits.train) and can_probe(target.model, splits.task) and not (asked or trains):
        return "probe", f"{describe(splits)} are too few to move the trunk"
    return "finetune", describe(splits)


def _is_small(examples: Examples) -> bool:
    if not examples.classes:
        return len(examples) <= _FEW_NUMBERS
    return len(examples) <= _FEW * len(examples.classes)


def _check(stated: Recipe, wanted: str, target: Target, splits: Splits, trains: bool) -> None:
    length = next((f"{name} {value}" for name in ("epochs", "updates") if (value := getattr(stated, name))), "")
    if stated.budget is not None and length:
        raise ValueError(f"budget decides the length of the run, and {length} states it; give one")
    if stated.folds is not None and wanted != "probe" and not trains:
        raise ValueError(f"folds measures a probe, and strategy is {wanted}; give strategy probe, or leave folds out")
    if wanted != "probe":
        return
    if stated.epochs is not None or (stated.updates or 1) > 1:
        raise ValueError("strategy probe makes no updates; leave epochs and updates out, or give strategy finetune")
    if stated.averages not in (None, "none"):
        raise ValueError(f"strategy probe makes no updates that averages {stated.averages} could be of; leave it out")
    if not target.origin:
        raise ValueError("strategy probe needs the weights of a source, and this network's are random")
    if not can_probe(target.model, splits.task):
        raise ValueError(
            f"strategy probe needs one linear output layer and photos, and {target.name} has not; "
            "give strategy finetune"
        )


def _of_finetuning(stated: Recipe, recipe: Recipe, target: Target, splits: Splits, world: World) -> dict[str, object]:
    taken: dict[str, object] = {}
    on_cpu = world.device.type == "cpu"
    if stated.augment is None and stated.train == "head" and stated.views is None:
        taken["augment"] = "none"  # the trunk then runs once
    if recipe.averages is None and recipe.lora is None and len(splits.val):
        taken["averages"] = "swa, line" if _begins_at_probe(recipe, target, splits) else "ema"
    if recipe.layer_decay is None:
        taken["layer_decay"] = layer_decay(target.model)
    if on_cpu and not recipe.states_length:
        images = _CPU_IMAGES["bf16" if is_fast_bf16(recipe.precision, world.device) else "fp32"]
        taken["epochs"] = passes(images, len(splits.train), *_CPU_EPOCHS)
    if on_cpu and trains_from_probe(recipe, target, splits):
        taken |= _short_steps(stated, recipe, target, world)
    return taken


def trains_from_probe(recipe: Recipe, target: Target, splits: Splits) -> bool:
    """Whether photos train a whole network from where a probe ends, while its batch statistics rest.

    Args:
        recipe: with its strategy decided; what is None is left to hone.
        target: the network.
        splits: the data; other kinds than photos have batches, sizes and lengths of their own.
    """
    is_photos = type(splits.train) is Examples
    trains_all = recipe.train in (None, "all") and recipe.lora is None and recipe.norm != "follow"
    return is_photos and trains_all and _begins_at_probe(recipe, target, splits)


def _begins_at_probe(recipe: Recipe, target: Target, splits: Splits) -> bool:
    head = recipe.head if recipe.head != "auto" else head_start(target, splits.task)
    return head == "probe" and can_probe(target.model, splits.task)


def _short_steps(stated: Recipe, recipe: Recipe, target: Target, world: World) -> dict[str, object]:
    """Small batches, whose norms say which are worth learning from, and small crops: more updates in less time."""
    taken: dict[str, object] = {}
    is_fit = recipe.optimizer.name in _ADAPTIVE and _SMALL_BATCH % world.size == 0
    if is_fit and stated.batch_size is None and stated.accumulate == 1 and not stated.fit_batch:
        taken["batch_size"] = _SMALL_BATCH
        if recipe.max_norm is None:
            taken["max_norm"] = 0.0
    if recipe.train_size is None and recipe.views is None and recipe.augment != "none" and not target.one_size:
        size = image_size(recipe.image_size, target.preprocessing.image_size, target.one_size, world.device)
        taken["train_size"] = crop_size(size)
    return taken


def layer_decay(model: nn.Module) -> float:
    """How rates fall with depth: by block where a network has attention blocks and no batch norm.

    Example:
        >>> from torchvision.models import resnet18
        >>> layer_decay(resnet18())
        1.0
    """
    modules = list(model.modules())
    attends = any("attention" in type(module).__name__.lower() for module in modules)
    return _BLOCK_DECAY if attends and not any(is_stateful_norm(module) for module in modules) else 1.0
