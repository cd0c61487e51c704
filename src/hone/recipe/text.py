"""YAML as people write it: ``1e-3`` is a number (YAML 1.1, which PyYAML follows, reads it as text)."""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """The safe loader, with YAML 1.2's numbers."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def from_yaml(text: str) -> Any:
    """Read YAML; only plain values can come out of it.

    Raises:
        yaml.YAMLError: it is not YAML.

    Example:
        >>> from_yaml("{lr: 1e-3, betas: [0.9, 0.95]}")
        {'lr': 0.001, 'betas': [0.9, 0.95]}
    """
    return yaml.load(text, _Loader)
