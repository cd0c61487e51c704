"""A part of the recipe built from a name and the arguments of what it names: model, loss, schedule, optimizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hone import checks


@dataclass(frozen=True)
class Component:
    """A name, its arguments, and from Python the object itself.

    In YAML and in Python a component is a name, or a mapping of ``name`` and the arguments; on the command line
    ``--schedule NAME --schedule.argument VALUE``.

    Attributes:
        name: a short name or ``module:name``; None leaves the choice to hone.
        options: arguments by name.
        given: what a Python caller handed over instead of a name.

    Example:
        >>> Component.of("schedule", {"name": "StepLR", "step_size": 30})
        Component(name='StepLR', options={'step_size': 30}, given=None)
    """

    name: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    given: Any = None

    @staticmethod
    def of(what: str, value: object) -> Component:
        """Read a component from a name, a mapping, an object, or None.

        Raises:
            ValueError: a mapping without a name that is a string.
        """
        if value is None:
            return Component()
        if isinstance(value, Component):
            return value
        if isinstance(value, str):
            return Component(value)
        if isinstance(value, Mapping):
            options = {str(key): item for key, item in value.items() if key != "name"}
            name = value.get("name")
            if name is not None and not isinstance(name, str):
                raise checks.invalid(f"{what}.name", "be a name", name)
            return Component(name, options)
        kind = value if hasattr(value, "__qualname__") else type(value)
        name = f"{kind.__module__}:{kind.__qualname__}"
        fields = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else {}
        return Component(name, fields, value)

    def plain(self) -> str | dict[str, Any] | None:
        """As it stands in ``recipe.yaml``."""
        return {"name": self.name, **self.options} if self.options else self.name
