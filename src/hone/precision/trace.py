"""Watch every operation of a model's forward pass and the gradient of its result, without touching the user's code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

#: Operations that only move or relabel numbers; they cannot be where a number goes bad first.
PASSING = frozenset({"add", "__add__", "__radd__", "__iadd__", "add_", "cat", "concat", "stack", "clone", "identity"})
#: Operations whose gradient switches at a threshold: a value rounded across it flips whole elements of the gradient,
#: so the backward pass differs by rounding alone, however large the relative difference.
_SWITCHING = """
relu relu_ relu6 relu6_ leaky_relu leaky_relu_ rrelu hardtanh hardtanh_ hardswish hardswish_ hardsigmoid threshold
clamp clamp_ clip abs __abs__ sign max min amax amin maximum minimum topk sort median where prelu
max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d round floor
"""
SWITCHING = frozenset(_SWITCHING.split())
#: Changes of format; to a wider one they lose nothing, and float32 runs have no such step to compare with.
CASTING = frozenset({"float", "double", "half", "bfloat16", "to", "type", "type_as"})
#: Random masks differ from one format to the next; the comparison leaves them out.
DROPPING = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"})
LOSS = "loss"


class Record:
    """One operation's result.

    Attributes:
        module: dotted name of the innermost module that ran it; "" is the model itself, "loss" the loss.
        operation: torch's name for it.
        turn: how many times this module had run this operation before.
        sources: the records that it took its inputs from.
        value: what was kept of the result.
        grad: what was kept of the gradient with respect to the result.
    """

    __slots__ = ("grad", "module", "operation", "sources", "turn", "value")

    def __init__(self, module: str, operation: str, turn: int, sources: list[int]) -> None:
        self.module = module
        self.operation = operation
        self.turn = turn
        self.sources = sources
        self.value: Any = None
        self.grad: Any = None

    @property
    def key(self) -> tuple[str, str, int]:
        """What names the same operation in another run of the model."""
        return self.module, self.operation, self.turn


def is_view_of(tensor: Tensor, inputs: list[Tensor]) -> bool:
    """Whether ``tensor`` is another look at the memory of an input: neither new nor written in place."""
    if not tensor._is_view() or any(tensor is t for t in inputs):
        return False
    return any(tensor._base is t or tensor._base is t._base for t in inputs)


class Trace(TorchFunctionMode):
    """Record every floating-point result inside a ``with`` block, and later the gradients with respect to them.

    Args:
        model: the model that runs inside.
        keep: (record, tensor) -> what to keep of a result.
        keep_grad: (record, tensor) -> what to keep of a gradient.
    """

    def __init__(
        self, model: nn.Module, keep: Callable[[Record, Tensor], Any], keep_grad: Callable[[Record, Tensor], Any]
    ) -> None:
        super().__init__()
        self.records: list[Record] = []
        #: Indices of the records in the order in which their gradients arrived.
        self.arrived: list[int] = []
        self.place: list[str] = []
        self._model = model
        self._keep = keep
        self._keep_grad = keep_grad
        self._turns: Counter[tuple[str, str]] = Counter()
        self._origin: Any = WeakIdKeyDictionary()
        self._latest: Tensor | None = None
        #: The module and the operation that ran last: where an error came from.
        self.running = ("", "")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow the model's modules and operations while the block runs."""
        with ExitStack() as stack:
            for name, module in self._model.named_modules():
                stack.callback(module.register_forward_pre_hook(self._entering(name)).remove)
                stack.callback(module.register_forward_hook(self._leave, always_call=True).remove)
            stack.enter_context(self)
            yield

    def _entering(self, name: str) -> Callable[[nn.Module, Any], None]:
        def enter(module: nn.Module, args: Any) -> None:
            self.place.append(name)

        return enter

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        # A custom autograd.Function is no torch function; its result first shows as its module's output.
        outputs = [t for t in tree_leaves(output) if isinstance(t, Tensor) and t.is_floating_point()]
        for tensor in outputs:
            if tensor is not self._latest and self._origin.get(tensor) is None and tensor.grad_fn is not None:
                self._record(tensor.grad_fn.name().removesuffix("Backward"), tree_leaves(args), tensor)
        self.place.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operation = getattr(func, "__name__", str(func))
        if operation == "__get__":
            return func(*args, **kwargs)
        if operation in DROPPING:
            return args[0] if args else kwargs["input"]
        self.running = (self._here(), operation)
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        versions = [t._version for t in inputs]
        result = func(*args, **kwargs)
        for tensor in tree_leaves(result):
            if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
                continue
            unchanged = any(tensor is t and tensor._version == v for t, v in zip(inputs, versions, strict=True))
            if unchanged:
                continue
            cast = operation in CASTING and tensor.dtype not in (torch.float16, torch.bfloat16)
            if cast or is_view_of(tensor, inputs):
                self._pass_on(inputs, tensor)
            else:
                self._record(operation, inputs, tensor)
        return result

    def _here(self) -> str:
        return self.place[-1] if self.place else LOSS

    def _pass_on(self, inputs: list[Tensor], view: Tensor) -> None:
        origins = self._sources(inputs)
        if origins:
            self._origin[view] = origins[0]

    def _sources(self, inputs: list[Any]) -> list[int]:
        found = (self._origin.get(t) for t in inputs if isinstance(t, Tensor))
        return [index for index in found if index is not None]

    def _record(self, operation: str, inputs: list[Any], tensor: Tensor) -> None:
        module = self._here()
        turn = self._turns[module, operation]
        self._turns[module, operation] += 1
        record, index = Record(module, operation, turn, self._sources(inputs)), len(self.records)
        self.records.append(record)
        self._origin[tensor] = index
        self._latest = tensor
        with torch.no_grad(), torch._C.DisableTorchFunction():
            record.value = self._keep(record, tensor.detach())
        if tensor.requires_grad:

            def arrive(grad: Tensor) -> None:
                record.grad = self._keep_grad(record, grad.detach())
                self.arrived.append(index)

            tensor.register_hook(arrive)  # type: ignore[no-untyped-call]

    def consumers(self, index: int) -> list[int]:
        """The records that took an input from record ``index``."""
        return [i for i, record in enumerate(self.records) if index in record.sources]
