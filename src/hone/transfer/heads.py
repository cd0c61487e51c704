"""Output layers: which layers give a model's output, and the same layers for another number of classes."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hone import checks
from hone.transfer.head_init import initialise
from hone.transfer.layers import LAYERS, NORMS, memory_format, out_width, unwrap
from hone.transfer.trace import trace_head

#: Heads that somebody named or that took a forward to find: model -> (name, fed).
_KNOWN: weakref.WeakKeyDictionary[nn.Module, tuple[tuple[str, bool], ...]] = weakref.WeakKeyDictionary()
#: Models in which no head was found -> what was tried.
_TRIED: weakref.WeakKeyDictionary[nn.Module, list[str]] = weakref.WeakKeyDictionary()
#: LRASPP adds the outputs of two classifiers; the second is the last layer of "classifier".
_TORCHVISION = (
    "fc",
    "classifier",
    "classifier.low_classifier",
    "heads",
    "head",
    "AuxLogits",
    "aux1",
    "aux2",
    "aux_classifier",
)
_SMP = ("segmentation_head", "classification_head")


@dataclass(frozen=True)
class Head:
    """One layer that gives the output.

    Attributes:
        name: where it is in the model, such as ``"classifier.1"``.
        layer: the layer: linear, convolution or transposed convolution; in some networks also the norm between two of
            them.
        fed: its input is the output of another head, so its input width is the number of classes too.
    """

    name: str
    layer: nn.Module
    fed: bool = False

    @property
    def width(self) -> int:
        """The number of outputs (classes)."""
        return out_width(self.layer)


def find_head(
    model: nn.Module, *, head: str | Sequence[str] | None = None, example: Tensor | None = None
) -> tuple[Head, ...]:
    """Find the layers that give the model's output.

    What the library declares is asked first (timm's ``pretrained_cfg``, the attributes of torchvision and
    segmentation_models_pytorch); else one forward without arithmetic (fake tensors) shows which layers the output
    comes from.

    Args:
        model: any network; left as it was.
        head: the name or names of the layers, where you know better.
        example: an input, shape ``(N, channels, *spatial)``, where its shape can't be guessed from the first layer.

    Returns:
        The heads, the main one first: several where there are auxiliary or distillation heads.

    Raises:
        ValueError: no head is found: what was tried, and the argument that names it.

    Example:
        >>> from torchvision.models import squeezenet1_1
        >>> [(head.name, head.width) for head in find_head(squeezenet1_1())]
        [('classifier.1', 1000)]
    """
    model = unwrap(model)
    if head is not None:
        names = (head,) if isinstance(head, str) else tuple(head)
        named = tuple(_named(model, name) for name in names)
        _KNOWN[model] = tuple((each.name, each.fed) for each in named)
        return named
    modules = dict(model.named_modules())
    known = _KNOWN.get(model, ())
    if known and all(isinstance(modules.get(name), (*LAYERS, *NORMS)) for name, _ in known):
        return tuple(Head(name, modules[name], fed) for name, fed in known)
    found = _declared(model)
    if found == ():
        raise ValueError(
            f"the output layer of {type(model).__name__} is not there (num_classes=0, or taken out); "
            "build the model with one, or name a layer with head="
        )
    return _traced(model, example) if found is None else found


def replace_head(
    model: nn.Module,
    num_classes: int,
    *,
    head: str | Sequence[str] | None = None,
    seed: int | None = None,
    example: Tensor | None = None,
) -> nn.Module:
    """Give the model an output layer for ``num_classes`` classes, initialised as its library initialises it.

    Bias or none, dtype, device and memory format stay; every other tensor is untouched. All heads are replaced. A timm
    model without one (``num_classes=0``) gets one.

    Args:
        model: any network; changed in place.
        num_classes: number of outputs, at least 1.
        head: the name or names of the layers, where :func:`find_head` should not look for them.
        seed: of the new weights (drawn on the CPU, so the same on every device); None draws from torch's default
            generator.
        example: as in :func:`find_head`.

    Returns:
        The model.

    Raises:
        ValueError: ``num_classes`` is less than 1, or no head is found; the model is as it was.

    Example:
        >>> from torchvision.models import resnet18
        >>> replace_head(resnet18(), num_classes=5, seed=0).fc
        Linear(in_features=512, out_features=5, bias=True)
    """
    checks.integer("num_classes", num_classes, at_least=1)
    inner = unwrap(model)
    headless = head is None and hasattr(inner, "reset_classifier") and _declared(inner) == ()
    heads = () if headless else find_head(inner, head=head, example=example)
    for each in heads:
        if getattr(each.layer, "groups", 1) != 1:
            raise checks.invalid("head", "not be a grouped convolution", each.name)
        if "weight" not in each.layer._parameters and not isinstance(each.layer, NORMS):
            raise checks.invalid("head", "hold its weight as a plain parameter (no weight norm, no adapter)", each.name)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        if headless:
            _add_head(inner, num_classes)
        for each in heads:
            old = each.width
            _renew(inner, each, num_classes)
            for owner in _owners(inner, each.name):
                if getattr(owner, "num_classes", None) == old:
                    owner.num_classes = num_classes  # type: ignore[assignment]
    return model


def _traced(model: nn.Module, example: Tensor | None) -> tuple[Head, ...]:
    """The heads that a forward shows; what was tried in vain is not tried again without a new example."""
    tried: list[str] = [] if example is not None else _TRIED.get(model, [])
    found = () if tried else tuple(Head(*each) for each in trace_head(model, example, tried))
    if not found:
        _TRIED[model] = tried
        raise ValueError(
            f"the output layer of {type(model).__name__} was not found (tried: {'; '.join(tried[:4])}); "
            "name it with head=, or give an input with example="
        )
    _KNOWN[model] = tuple((each.name, each.fed) for each in found)
    return found


def _add_head(model: nn.Module, num_classes: int) -> None:
    """Let timm build the output layer that it left out, where and in the dtype in which the model is."""
    like = next(model.parameters())
    model.reset_classifier(num_classes)  # type: ignore[operator]
    for head in find_head(model):
        head.layer.to(like.device, like.dtype)


def _named(model: nn.Module, name: str) -> Head:
    try:
        module = model.get_submodule(name)
    except AttributeError:
        layers = [known for known, module in model.named_modules() if isinstance(module, LAYERS)]
        raise checks.unknown("head", name, layers[::-1]) from None
    found = _last_layer(name, module)
    if found is None:
        raise checks.invalid("head", "name a linear or convolution layer", f"{name} ({type(module).__name__})")
    return found


def _last_layer(name: str, module: nn.Module) -> Head | None:
    layers = [(inner, layer) for inner, layer in module.named_modules() if isinstance(layer, LAYERS)]
    if not layers:
        return None
    inner, layer = layers[-1]
    return Head(f"{name}.{inner}" if name and inner else name or inner, layer)


def _last_layers(model: nn.Module, names: Sequence[str]) -> tuple[Head, ...]:
    modules = dict(model.named_modules())
    found = (_last_layer(name, modules[name]) for name in names if name in modules)
    return tuple(head for head in found if head is not None)


def _declared(model: nn.Module) -> tuple[Head, ...] | None:
    """The heads that the model's library names, without running it: empty if they are gone, None if it names none."""
    library = type(model).__module__
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    if callable(classifier := getattr(model, "get_classifier", None)):
        declared = config.get("classifier") if isinstance(config, dict) else getattr(config, "classifier", None)
        names = (declared,) if isinstance(declared, str) else tuple(declared or ())
        if not names:  # built without timm's factory
            layers = classifier() if isinstance(classifier(), tuple) else (classifier(),)
            names = tuple(name for name, module in model.named_modules() if any(module is layer for layer in layers))
        return _last_layers(model, names)
    children = dict(model.named_children())
    if library.startswith("torchvision.models") and ".detection" not in library and ".optical" not in library:
        return _last_layers(model, _TORCHVISION) if children.keys() & set(_TORCHVISION) else None
    if library.startswith("segmentation_models_pytorch"):
        return _last_layers(model, _SMP) if children.keys() & set(_SMP) else None
    return None


def _owners(model: nn.Module, name: str) -> Iterator[nn.Module]:
    """The modules around ``name``, the model itself first."""
    owner = model
    yield owner
    for part in name.split(".")[:-1]:
        owner = owner.get_submodule(part)
        yield owner


def _renew(model: nn.Module, head: Head, num_classes: int) -> None:
    """New parameters (and statistics) of the layer, in place: hooks, aliases and options of the layer stay."""
    layer, old = head.layer, head.width
    tensors = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    for name, tensor in tensors:
        shape = [num_classes if _is_class_axis(layer, head, name, axis) else n for axis, n in enumerate(tensor.shape)]
        device = "meta" if tensor.is_meta else "cpu"
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        fresh: Tensor = torch.empty(shape, device=device, dtype=dtype)
        setattr(layer, name, nn.Parameter(fresh) if isinstance(tensor, nn.Parameter) else fresh)
    for attribute in ("out_features", "out_channels", "num_features"):
        if getattr(layer, attribute, None) == old:
            setattr(layer, attribute, num_classes)
    if head.fed and not isinstance(layer, NORMS):
        setattr(layer, "in_features" if isinstance(layer, nn.Linear) else "in_channels", num_classes)
    initialise(model, layer)
    for name, tensor in tensors:
        fresh = getattr(layer, name)
        fresh.data = fresh.data.to(tensor.device, tensor.dtype, memory_format=memory_format(tensor))


def _is_class_axis(layer: nn.Module, head: Head, tensor_name: str, axis: int) -> bool:
    if tensor_name != "weight" or isinstance(layer, NORMS):
        return axis == 0
    transposed = isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d))
    return axis == (1 if transposed else 0) or (head.fed and axis == (0 if transposed else 1))
