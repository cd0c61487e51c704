"""What a run writes down as it goes: ``metrics.jsonl``, and the same for TensorBoard."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hone.training.folders import written_beside


class Record:
    """Appends to ``metrics.jsonl`` and to TensorBoard's event file in a run folder.

    Args:
        folder: the run folder; None writes nothing (every process but the first).
        update: where the run goes on. Lines of later updates, written after the last checkpoint by a run that was
            killed, are taken out first, since they will be written again.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with Record(folder) as record:
        ...     record.write({"kind": "eval", "update": 4, "metrics": {"loss": 0.5}})
        >>> read_record(folder)
        [{'kind': 'eval', 'update': 4, 'metrics': {'loss': 0.5}}]
    """

    def __init__(self, folder: Path | None, update: int = 0) -> None:
        self._open = folder is not None
        if folder is None:
            return
        path = folder / "metrics.jsonl"
        if path.exists():
            kept = [line for line in read_record(folder) if line["update"] <= update]
            with written_beside(path) as draft:
                draft.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a", buffering=1)
        self._board = _event_writer(folder, update)

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one line; its numbers go to TensorBoard as well."""
        if not self._open:
            return
        self._file.write(json.dumps(line) + "\n")
        kind, update = line["kind"], line["update"]
        for name, value in {k: v for k, v in line.items() if k not in ("kind", "update", "metrics", "lr")}.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self._board.add_scalar(f"{kind}/{name}", value, update)
        for table in ("metrics", "lr"):
            for name, value in line.get(table, {}).items():
                self._board.add_scalar(f"{kind if table == 'metrics' else 'lr'}/{name}", value, update)

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._open:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._board.close()


def read_record(folder: Path) -> list[dict[str, Any]]:
    """All lines of a run's ``metrics.jsonl``; a last line that was cut off by a crash is left out."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    found: list[dict[str, Any]] = []
    for place, line in enumerate(lines):
        try:
            found.append(json.loads(line))
        except ValueError:
            if place < len(lines) - 1:
                raise ValueError(f"{folder / 'metrics.jsonl'} line {place + 1} is not JSON: {line[:80]!r}") from None
    return found


def _event_writer(folder: Path, update: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter  # 1 s to import: not for those who only read

    return SummaryWriter(str(folder), purge_step=update + 1 if update else None)
