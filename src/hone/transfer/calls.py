"""Listening to, and standing in for, the calls of a network's modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

#: (module's name, number of the call, the module's own forward, arguments, keyword arguments) -> output.
Handler = Callable[[str, int, Callable[..., Any], Any, Any], Any]


class CallWatch:
    """Puts a handler in the place of some modules' ``forward``, and counts the calls of each.

    Args:
        modules: by name.
        handle: is called instead.
    """

    def __init__(self, modules: dict[str, nn.Module], handle: Handler) -> None:
        self.modules, self.handle = modules, handle
        self._counts: dict[str, int] = {}
        self._own: dict[str, Any] = {}

    def install(self) -> None:
        """Take the modules' calls over; counting begins."""
        self.restart()
        for name, module in self.modules.items():
            self._own[name] = module.__dict__.get("forward")
            module.forward = self._replacement(name, module.forward)

    def remove(self) -> None:
        """Give the modules' calls back."""
        for name, own in self._own.items():
            module = self.modules[name]
            if own is None:
                module.__dict__.pop("forward", None)
            else:
                module.forward = own
        self._own.clear()

    def restart(self) -> None:
        """A new forward begins."""
        self._counts.clear()

    def _replacement(self, name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            call = self._counts.get(name, 0)
            self._counts[name] = call + 1
            return self.handle(name, call, own, args, kwargs)

        return forward


@contextmanager
def watched(modules: dict[str, nn.Module], handle: Handler) -> Iterator[CallWatch]:
    """A :class:`CallWatch` for the length of a block."""
    watch = CallWatch(modules, handle)
    watch.install()
    try:
        yield watch
    finally:
        watch.remove()
