"""The network that segments images, and its source: another such network, or a classifier for its encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from hone.data import Preprocessing
from hone.models import ModelName, build_model, find_model
from hone.models.segmentation import encoder_of, smp_preprocessing
from hone.recipe.component import Component
from hone.recipe.folder import open_run
from hone.recipe.schema import Recipe
from hone.recipe.source import Target, build_target
from hone.transfer import Audit, AuditRow, copy_weights, find_head, read_weights, replace_head

#: Of a network whose encoder alone has a source, this is why the rest is new.
_AFTER_ENCODER = "not part of the encoder"
#: A source that fits so much of the network is the same network.
_WHOLE = 0.8
#: Side of an image that every network takes.
_SIDE = 256


def mask_target(recipe: Recipe, outputs: int, *, with_weights: bool = True) -> Target:
    """The network with its source's weights and an output layer of its own.

    A source is a segmentation network of the same kind, of which all but the output layer is taken, or a classifier,
    which becomes the encoder.

    Args:
        recipe: says the model and where its weights come from.
        outputs: size of the new output layer.
        with_weights: False leaves random weights: nothing is downloaded.

    Raises:
        ValueError: no such model, weights that can't be had, or that fit neither the network nor its encoder.
    """
    if isinstance(recipe.model.given, nn.Module) or _continues_segmentation(recipe):
        return build_target(recipe, outputs, with_weights=with_weights)
    component = recipe.model
    name = find_model(str(component.name))
    origin = _origin(recipe, name)
    state = _source_weights(recipe, name, component) if with_weights and origin else None
    torch.manual_seed(recipe.seed)
    model = build_model(name, pretrained=False, options=component.options)
    replace_head(model, outputs, seed=recipe.seed)
    audit = copy_source(model, state) if state is not None else None
    if dist.is_available() and dist.is_initialized():
        leave_out_unused(model)
    preprocessing = smp_preprocessing(component.options) if name.library == "smp" else Preprocessing()
    return Target(model, component, name, preprocessing, False, origin, audit)


def leave_out_unused(model: nn.Module) -> list[str]:
    """Tell DistributedDataParallel, which would wait for their gradients, of parameters that no output depends on.

    A decoder that takes but some stages of its encoder leaves the later ones unused.

    Args:
        model: a segmentation network, on the CPU.

    Returns:
        The names of those parameters.

    Example:
        >>> from hone.models.segmentation import build_smp
        >>> options = {"encoder_name": "resnet18", "encoder_depth": 3, "decoder_channels": [16, 16, 16]}
        >>> leave_out_unused(build_smp("Unet", options, pretrained=False))[0]
        'encoder.layer3.0.conv1.weight'
    """
    names, parameters = zip(*model.named_parameters(), strict=True)
    training = model.training
    logits = model.eval()(torch.zeros(1, 3, _SIDE, _SIDE))
    grads = torch.autograd.grad(logits.sum(), parameters, allow_unused=True)
    model.train(training)
    unused = [name for name, grad in zip(names, grads, strict=True) if grad is None]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, unused)  # type: ignore[no-untyped-call]
    return unused


def _continues_segmentation(recipe: Recipe) -> bool:
    return recipe.source is not None and open_run(recipe.source).recipe.task == "segment"


def _origin(recipe: Recipe, name: ModelName) -> str:
    """Where the weights come from, for people; empty for a model that is to start from random ones."""
    if recipe.source is not None:
        return str(recipe.source)
    if recipe.weights is not None:
        return recipe.weights
    known = {"smp": "of smp's encoder", "torchvision": "of torchvision"}
    return known.get(name.library, "") if recipe.pretrained else ""


def _source_weights(recipe: Recipe, name: ModelName, component: Component) -> dict[str, Tensor]:
    """The weights that :func:`_origin` says."""
    if recipe.source is not None:
        return open_run(recipe.source).weights()
    if recipe.weights is not None:
        return read_weights(Path(recipe.weights))
    model = build_model(name, pretrained=True, options=component.options)
    found = encoder_of(model) if name.library == "smp" else None
    return (model if found is None else found[1]).state_dict()


def copy_source(model: nn.Module, state: Mapping[str, Tensor], *, minimum: float = 0.8) -> Audit:
    """Copy a source into the whole network but for its output layer where it is one, else into its encoder.

    Args:
        model: a segmentation network.
        state: the source's tensors.
        minimum: the least share of the network, or of the encoder, that must be copied.

    Raises:
        ValueError: less would be copied; the network is as it was.
    """
    found = encoder_of(model)
    try:
        return copy_weights(model, state, skip=("head",), minimum=max(minimum, _WHOLE))
    except ValueError:
        if found is None:
            raise
    return copy_encoder(model, *found, state, minimum=minimum)


def copy_encoder(
    model: nn.Module, name: str, encoder: nn.Module, state: Mapping[str, Tensor], *, minimum: float = 0.8
) -> Audit:
    """Copy a classifier's weights into a network's encoder, and account for every tensor of the whole network.

    Args:
        model: the network.
        name: of the encoder in it.
        encoder: the module.
        state: the classifier's tensors.
        minimum: the least share of the encoder that must be copied.

    Returns:
        The audit of the whole network; its ``share`` is that of the encoder.

    Raises:
        ValueError: less of the encoder would be copied; the network is as it was.

    Example:
        >>> from hone.models.segmentation import build_smp
        >>> from torchvision.models import resnet18
        >>> model = build_smp("Unet", {"encoder_name": "resnet18", "classes": 3}, pretrained=False)
        >>> copy_encoder(model, "encoder", model.encoder, resnet18().state_dict()).share
        1.0
    """
    audit = copy_weights(encoder, state, minimum=minimum)
    inside = [dataclasses.replace(row, name=f"{name}.{row.name}") for row in audit.rows if row.status != "skipped"]
    known = {row.name for row in inside}
    heads = find_head(model)
    output = tuple(f"{head.name}." for head in heads)
    others = [
        AuditRow(key, "new", "output layer" if key.startswith(output) else _AFTER_ENCODER, tuple(tensor.shape))
        for key, tensor in model.state_dict().items()
        if key not in known
    ]
    skipped = [row for row in audit.rows if row.status == "skipped"]
    layer = heads[0].layer
    width = getattr(layer, "in_channels", None) or getattr(layer, "in_features", "?")
    return Audit((*inside, *others, *skipped), audit.matched, audit.share, f"{width} -> {heads[0].width}")
