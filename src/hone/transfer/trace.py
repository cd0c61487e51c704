"""The first and last layers of any network, by walking back through the autograd graph of one fake forward.

A hook notes the graph node that each layer's output hangs on. From the model's output the graph is walked backwards;
the first layers met on each path are the ones that give it. Tensors are fake (shapes without data), so any size costs
little.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hone.transfer.layers import LAYERS, NORMS, out_width

_SIZES = {1: (64, 1024), 2: (64, 224, 32, 28, 96, 128, 256, 384, 512), 3: (32, 64, 16, 96, 128)}


@dataclass
class _Trace:
    """Which layer each graph node belongs to, and what fed each layer."""

    made_by: dict[Any, str] = field(default_factory=dict)
    fed_by: dict[str, Any] = field(default_factory=dict)
    layers: dict[str, nn.Module] = field(default_factory=dict)

    def hook(self, name: str) -> Callable[..., None]:
        def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, Tensor) and output.grad_fn is not None and inputs and isinstance(inputs[0], Tensor):
                self.made_by[output.grad_fn] = name
                self.fed_by[name] = inputs[0].grad_fn

        return note

    def reached(self, start: Any, width: int | None = None) -> tuple[list[str], list[str]]:
        """The first layers met going back from a node, nearest first, and the norms of that width passed on the way."""
        layers: list[str] = []
        norms: list[str] = []
        seen = {start}
        queue = [start]
        while queue:
            node = queue.pop(0)
            name = self.made_by.get(node)
            if name is not None and not isinstance(self.layers[name], NORMS):
                layers.append(name)
                continue
            if name is not None and out_width(self.layers[name]) == width:
                norms.append(name)
            for following, _ in node.next_functions:
                if following is not None and following not in seen:
                    seen.add(following)
                    queue.append(following)
        return layers, norms

    def before(self, start: Any) -> set[str]:
        """All layers that a node depends on."""
        seen = {start}
        queue = [start]
        while queue:
            for following, _ in queue.pop().next_functions:
                if following is not None and following not in seen:
                    seen.add(following)
                    queue.append(following)
        return {self.made_by[node] for node in seen if node in self.made_by}


def trace_head(model: nn.Module, example: Tensor | None, tried: list[str]) -> list[tuple[str, nn.Module, bool]]:
    """The layers (name, layer, whether another head feeds it) that give the output; failures are added to ``tried``."""
    for shape, trace, output in _runs(model, example, tried):
        found = [] if output is None or output.grad_fn is None else _outputs(trace, output)
        if found:
            return found
        tried.append(f"an input of shape {shape}: no linear or convolution layer before the output")
    return []


def trace_input(model: nn.Module, example: Tensor | None, tried: list[str]) -> list[tuple[str, nn.Module]]:
    """The layers that take the input itself, with nothing but operations without weights before them."""
    for shape, trace, _ in _runs(model, example, tried, partly=True):
        found = [
            (name, trace.layers[name])
            for name, start in trace.fed_by.items()
            if getattr(trace.layers[name], "in_channels", None) == shape[1]
            and (start is None or not trace.reached(start)[0])
        ]
        if found:
            return found
        tried.append(f"an input of shape {shape}: no convolution of its {shape[1]} channels")
    return []


def _runs(
    model: nn.Module, example: Tensor | None, tried: list[str], partly: bool = False
) -> Iterator[tuple[tuple[int, ...], _Trace, Tensor | None]]:
    """Forwards at the shapes worth trying (where ``partly``, also those that fail): fake, else real if small."""
    for shape in [tuple(example.shape)] if example is not None else _shapes(model):
        for fake in (True, False):
            if not fake and shape[-1] > 64 and example is None:
                continue
            trace = _Trace(layers={n: m for n, m in model.named_modules() if isinstance(m, (*LAYERS, *NORMS))})
            output = None
            try:
                with _watched(model, trace), torch.enable_grad(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    output = _output(_forward(model, shape, fake))
            except Exception as error:  # a foreign forward may raise anything; the caller reports what was tried
                reason = (str(error).strip().splitlines() or [""])[0][:80]
                tried.append(f"an input of shape {shape}: {type(error).__name__} {reason}")
                if not partly:
                    continue
            yield shape, trace, output
            break


def _shapes(model: nn.Module) -> Iterator[tuple[int, ...]]:
    """Input shapes worth trying, judged by the first layer with weights."""
    config = getattr(model, "pretrained_cfg", None)
    if isinstance(config, dict) and isinstance(config.get("input_size"), tuple):
        yield (2, *config["input_size"])  # timm declares it
    layers = [layer for layer in model.modules() if isinstance(layer, LAYERS)]
    if layers and isinstance(layers[0], nn.Linear):
        yield (2, layers[0].in_features)
    first = next((layer for layer in layers if not isinstance(layer, nn.Linear)), None)
    if first is None:
        return
    channels = int(first.in_channels)
    spatial = len(first.kernel_size)
    sizes: list[tuple[int, ...]] = [(size,) * spatial for size in _SIZES[spatial]]
    if spatial == 3:
        sizes += [(16, 112, 112), (16, 224, 224)]
    declared = getattr(model, "image_size", None) or getattr(model, "img_size", None)
    if isinstance(declared, int):
        sizes.insert(0, (declared,) * spatial)
    elif isinstance(declared, (tuple, list)) and len(declared) == spatial:
        sizes.insert(0, tuple(int(n) for n in declared))
    for size in sizes:
        yield (2, channels, *size)


def _outputs(trace: _Trace, output: Tensor) -> list[tuple[str, nn.Module, bool]]:
    """The heads behind an output, and what lies between two of them."""
    names, _ = trace.reached(output.grad_fn)
    widths = (output.shape[1], output.shape[-1])
    heads = [name for name in dict.fromkeys(names) if out_width(trace.layers[name]) in widths]
    if not heads:
        return []
    width = out_width(trace.layers[heads[0]])
    heads = [name for name in heads if out_width(trace.layers[name]) == width]
    fed: set[str] = set()
    between: list[str] = []
    for name in heads:
        start = trace.fed_by[name]
        layers, norms = trace.reached(start, width) if start is not None else ([], [])
        if any(layer in heads for layer in layers):
            fed.add(name)
            between += norms
        if start is not None and (trace.before(start) & set(heads)) - set(layers):
            return []  # one hangs on another through further layers: an encoder's residual stream, no output layer
    return [(name, trace.layers[name], name in fed) for name in dict.fromkeys([*heads, *between])]


def _forward(model: nn.Module, shape: tuple[int, ...], fake: bool) -> Any:
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    dtype = parameter.dtype if parameter is not None else torch.float32
    if not fake:
        return model(torch.zeros(shape, device=device, dtype=dtype, requires_grad=True))
    # An autocast around this call would keep fake copies of the weights for the forwards after it.
    kind = device.type if torch.amp.is_autocast_available(device.type) else "cpu"
    with torch.autocast(kind, enabled=False), FakeTensorMode(allow_non_fake_inputs=True):
        return model(torch.zeros(shape, device=device, dtype=dtype, requires_grad=True))


def _output(result: Any) -> Tensor | None:
    """The main output: the first tensor of at least two axes, where a model returns several."""
    if isinstance(result, Tensor):
        return result if result.ndim >= 2 else None
    values = result.values() if isinstance(result, dict) else result if isinstance(result, (tuple, list)) else ()
    return next((found for value in values if (found := _output(value)) is not None), None)


@contextmanager
def _watched(model: nn.Module, trace: _Trace) -> Iterator[None]:
    """Hooks on every layer, the model in eval, torch's log of failed fake operations off; and all of it put back."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    silent = log.disabled
    modes = [(module, module.training) for module in model.modules()]
    handles = [module.register_forward_hook(trace.hook(name)) for name, module in trace.layers.items()]
    model.eval()
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = silent
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
