"""Read a CSV file of path,label."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..checks import invalid
from .examples import Task
from .listing import SPLIT_NAMES, SUFFIXES, Listing

_PATH_NAMES = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "photo")
_LABEL_PREFIXES = ("label", "class", "target")


@dataclass(frozen=True)
class _Columns:
    """Where the path, the split and the labels stand, and what the header calls them ("" without a header)."""

    path: int
    split: int | None
    labels: list[int] | None
    names: list[str]
    unused: list[str]


def list_table(file: Path, task: str) -> Listing:
    """List the files of a CSV: a path and its label, labels or numbers in each row.

    A header is optional. With one, the path stands in the column named path, file, image or the like, else in the
    first; ``split`` holds train, val or test; labels stand in the columns whose name begins with label, class or
    target, else in all others. Several labels a photo are written ``cat;dog`` or ``cat|dog``, in several columns, or as
    columns of 0 and 1 named after the classes; ``cat dog`` means two labels where the task is said to be multilabel.
    Relative paths start from the folder of the CSV.

    Args:
        file: the CSV; commas, semicolons or tabs between the columns.
        task: "auto", "classify", "multilabel" or "regress".

    Raises:
        ValueError: a row lacks a path or a label, a label is no number (regress), one path stands twice.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "labels.csv"
        ...     _ = file.write_text("path,label\\na.jpg,cat;dog\\nb.jpg,cat\\n")
        ...     listing = list_table(file, "auto")
        >>> listing.task, listing.classes, listing.labels
        ('multilabel', ['cat', 'dog'], [('cat', 'dog'), ('cat',)])
    """
    lines, rows = _rows(file)
    columns = _columns(rows[0])
    if columns.names:
        lines, rows = lines[1:], rows[1:]
    if not rows:
        raise invalid(str(file), "hold at least one row of path,label", "only a header")
    paths = _paths(file, lines, rows, columns)
    kinds = _kinds(file, lines, rows, columns)
    cells = [_cells(row, columns) for row in rows]
    classes: list[str] = []
    understood: Task = "regress"
    if task == "regress":
        labels = _numbers(file, lines, cells)
    else:
        labels, classes, understood = _names(file, lines, cells, columns, task)
    notes = [f"columns {', '.join(columns.unused)} of {file.name} are not used"] if columns.unused else []
    return Listing(paths, labels, kinds, understood, classes, 0, notes)


def _rows(file: Path) -> tuple[list[int], list[list[str]]]:
    """The rows that are not empty, with their line numbers."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise invalid("DATA", "be a folder or a CSV file in UTF-8", str(file), str(error)) from None
    first = text.lstrip("\n").partition("\n")[0]
    delimiter = next((mark for mark in ",\t;" if mark in first), ",")
    reader = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    numbered = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    if not numbered:
        raise invalid(str(file), "hold at least one row of path,label", "an empty file")
    return [line for line, _ in numbered], [[cell.strip() for cell in row] for _, row in numbered]


def _columns(first: list[str]) -> _Columns:
    if any(os.path.splitext(cell)[1].lower() in SUFFIXES for cell in first):  # noqa: PTH122
        return _Columns(0, None, None, [], [])
    lower = [cell.lower() for cell in first]
    path = next((lower.index(name) for name in _PATH_NAMES if name in lower), 0)
    split = lower.index("split") if "split" in lower else None
    others = [place for place in range(len(first)) if place not in (path, split)]
    labels = [place for place in others if lower[place].startswith(_LABEL_PREFIXES)] or others
    if not labels:
        raise invalid("header", "name a path and a label column", ",".join(first))
    return _Columns(path, split, labels, first, [first[place] for place in others if place not in labels])


def _paths(file: Path, lines: list[int], rows: list[list[str]], columns: _Columns) -> list[str]:
    folder = str(file.parent)
    paths: list[str] = []
    seen: dict[str, int] = {}
    for line, row in zip(lines, rows, strict=True):
        name = row[columns.path] if columns.path < len(row) else ""
        if not name:
            raise ValueError(f"{file} line {line} has no path")
        path = os.path.join(folder, name)  # noqa: PTH118
        if path in seen:
            raise ValueError(f"{file} line {line} repeats {name} of line {seen[path]}; give each photo one row")
        seen[path] = line
        paths.append(path)
    return paths


def _kinds(file: Path, lines: list[int], rows: list[list[str]], columns: _Columns) -> list[str]:
    if columns.split is None:
        return [""] * len(rows)
    kinds: list[str] = []
    for line, row in zip(lines, rows, strict=True):
        word = row[columns.split].lower() if columns.split < len(row) else ""
        if word not in SPLIT_NAMES:
            raise ValueError(f"{file} line {line}: split must be train, val or test, got {word!r}")
        kinds.append(SPLIT_NAMES[word])
    # As with folders: a train part without a val part is divided.
    return kinds if "val" in kinds else ["" if kind == "train" else kind for kind in kinds]


def _cells(row: list[str], columns: _Columns) -> list[str]:
    places = range(1, len(row)) if columns.labels is None else columns.labels
    return [row[place] if place < len(row) else "" for place in places]


def _numbers(file: Path, lines: list[int], cells: list[list[str]]) -> list[tuple[str, ...]]:
    width = len(cells[0])
    for line, row in zip(lines, cells, strict=True):
        if len(row) != width or not row:
            raise ValueError(f"{file} line {line} must have as many numbers as the first row ({width}), got {len(row)}")
        for cell in row:
            if not _is_finite(cell):
                raise ValueError(f"{file} line {line}: {cell!r} is no number, which task regress needs")
    return [tuple(row) for row in cells]


def _names(
    file: Path, lines: list[int], cells: list[list[str]], columns: _Columns, task: str
) -> tuple[list[tuple[str, ...]], list[str], Task]:
    if columns.labels is not None and len(columns.labels) > 1 and _all_bits(cells) and task != "classify":
        classes = [columns.names[place] for place in columns.labels]
        marked = [tuple(name for name, cell in zip(classes, row, strict=True) if _bit(cell)) for row in cells]
        return marked, classes, "multilabel"
    labels = [tuple(part for cell in row for part in _parts(cell)) for row in cells]
    if task == "multilabel" and all(len(names) <= 1 for names in labels):
        labels = [tuple(word for name in names for word in name.split()) for names in labels]
    understood: Task = "multilabel" if task == "multilabel" or any(len(names) > 1 for names in labels) else "classify"
    if task == "classify" or understood == "classify":
        _check_single(file, lines, labels)
        understood = "classify"
    if task == "auto":
        _check_clear(file, labels)
    return [tuple(dict.fromkeys(names)) for names in labels], _sorted_classes(labels), understood


def _check_single(file: Path, lines: list[int], labels: list[tuple[str, ...]]) -> None:
    for line, names in zip(lines, labels, strict=True):
        if len(names) != 1:
            what = f"{len(names)} labels ({', '.join(names)})" if names else "no label"
            raise ValueError(f"{file} line {line} has {what}, task classify needs one")


def _check_clear(file: Path, labels: list[tuple[str, ...]]) -> None:
    """Refuse to guess where the labels can be read in two ways."""
    distinct = {name for names in labels for name in names}
    if any("." in name for name in distinct) and all(_is_finite(name) for name in distinct):
        raise ValueError(
            f"{file}: the labels are numbers; say --task regress, or --task classify to take them as names"
        )
    words = {word for name in distinct for word in name.split()}
    if any(" " in name for name in distinct) and len(words) < len(distinct):
        example = min(name for name in distinct if " " in name)
        raise ValueError(
            f"{file}: labels such as {example!r} hold spaces; say --task multilabel if they are several,"
            " --task classify if each is one name"
        )


def _sorted_classes(labels: list[tuple[str, ...]]) -> list[str]:
    """By name; by value where all names are whole numbers, so that index and number agree."""
    distinct = sorted({name for names in labels for name in names})
    return sorted(distinct, key=int) if all(name.isdecimal() for name in distinct) else distinct


def _parts(cell: str) -> list[str]:
    return [part.strip() for part in re.split(r"[;|]", cell) if part.strip()]


def _all_bits(cells: list[list[str]]) -> bool:
    return all(cell in ("", "0", "1", "0.0", "1.0") for row in cells for cell in row)


def _bit(cell: str) -> bool:
    return cell in ("1", "1.0")


def _is_finite(cell: str) -> bool:
    try:
        return abs(float(cell)) < float("inf")
    except ValueError:
        return False
