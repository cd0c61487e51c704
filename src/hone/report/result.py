"""What a run ends with: the one record that training fills, and that pages, tables and other programs read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from hone.checks import integer, invalid, number, one_of

#: What a run can be about; ``metric`` and the pictures of the page follow from it.
TASKS = ("classify", "multilabel", "regress", "segment", "segment-volume", "classify-volume", "classify-video")
#: What the best weights can have been measured on.
SPLITS = ("val", "test")
#: How many points of a regression, and how many mistakes, are worth keeping: ``result.json`` stays readable.
MAX_PREDICTIONS = 2000
MAX_MISTAKES = 24

T = TypeVar("T")


@dataclass(frozen=True)
class Best:
    """The best evaluation by the run's metric; of equal ones the earliest."""

    update: int
    value: float


@dataclass(frozen=True)
class Layer:
    """A block of the model and how many numbers it holds."""

    name: str
    parameters: int


@dataclass(frozen=True)
class ClassScore:
    """How one class (or one label) fared.

    ``precision`` is TP / (TP + FP), ``recall`` TP / (TP + FN), ``f1`` their harmonic mean, each NaN where it divides by
    zero; ``support`` counts the samples (of a segmentation, pixels or voxels) that truly have the class. ``surface`` is
    its normalised surface distance, where that was measured.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    surface: float | None = None


@dataclass(frozen=True)
class Mistake:
    """A sample that the best weights got wrong: ``confidence`` in [0, 1] is the probability given to ``predicted``."""

    path: str
    truth: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Case:
    """A sample that is shown.

    ``rank`` says why ("best", "worst 2"); ``value`` is its score, ``scores`` that of each class that it shows;
    ``picture`` is the path of its picture in the run folder. Of a clip ``value`` is the probability of its class
    ``truth``, and ``scores`` are the highest probabilities.
    """

    path: str
    rank: str
    value: float
    scores: dict[str, float]
    picture: str
    truth: str = ""


@dataclass(frozen=True)
class Predictions:
    """Pairs of true and predicted values of a regression, in the target's own unit."""

    truth: list[float]
    predicted: list[float]

    def __post_init__(self) -> None:
        if len(self.truth) != len(self.predicted):
            raise invalid("predicted", f"have {len(self.truth)} values, one a true value", len(self.predicted))


@dataclass(frozen=True)
class Machine:
    """Where the run happened and with which versions; `machine_facts` fills all but the device."""

    device: str
    cores: int
    platform: str
    python: str
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What a run ended with; ``result.json`` in the run folder is its JSON.

    Only ``task`` and ``metric`` are required, so that an interrupted run can say what it knows.

    Args:
        task: one of ``TASKS``.
        metric: name of the metric that chose the best weights, such as "accuracy".
        higher_is_better: whether a larger value of that metric is a better one.
        best: update and value of the best evaluation; None before the first.
        final: every metric of the best weights on ``measured_on``.
        measured_on: "val", or "test" where there is a test split: what ``final``, the confusion matrix, the scores,
            the predictions and the mistakes are of. ``best`` is always of the validation data.
        baselines: value of the metric without training the model, by a name a reader understands
            ("always the largest class", "linear probe"); drawn as lines in the metric's chart.
        epochs: passes through the training data, fractions included.
        updates: optimizer updates completed.
        attempts: updates completed plus updates skipped.
        skipped: updates skipped because fp16 overflowed.
        seconds: wall-clock time of training and evaluation.
        samples_per_second: training throughput, evaluation left out.
        precision: "fp32", "tf32", "bf16" or "fp16".
        model: name of the model as the user wrote it.
        weights: where its first weights came from ("imagenet", a file, a run); empty if random.
        data: the data folder or file as the user wrote it.
        samples: how many samples each split holds: {"train": 400, "val": 200}.
        confusion: counts[truth][predicted] over ``measured_on``, in the order of ``classes.json``.
        per_class: one row a class or label.
        predictions: a regression's pairs, at most ``MAX_PREDICTIONS`` (see `sample_predictions`).
        cases: the best and the worst segmented samples, with pictures.
        mistakes: the most confidently wrong samples, at most ``MAX_MISTAKES`` (see `most_wrong`).
        trained: blocks that trained at the end, in the model's order.
        frozen: blocks that did not.
        machine: device, cores, versions.
        command: the command line that repeats the run.
        notes: the lines that the command printed before training (what was understood and decided).
        interrupted: True when the run was stopped before its last update; it can be resumed.

    Raises:
        ValueError: an unknown task or split, a negative count, a confusion matrix that is not square.

    Example:
        >>> result = Result("classify", "accuracy", best=Best(96, 0.875), updates=120)
        >>> Result.from_json(result.to_json()) == result
        True
    """

    task: str
    metric: str
    higher_is_better: bool = True
    best: Best | None = None
    final: dict[str, float] = field(default_factory=dict)
    measured_on: str = "val"
    baselines: dict[str, float] = field(default_factory=dict)
    epochs: float = 0.0
    updates: int = 0
    attempts: int = 0
    skipped: int = 0
    seconds: float = 0.0
    samples_per_second: float = 0.0
    precision: str = ""
    model: str = ""
    weights: str = ""
    data: str = ""
    samples: dict[str, int] = field(default_factory=dict)
    confusion: list[list[int]] | None = None
    per_class: list[ClassScore] | None = None
    predictions: Predictions | None = None
    cases: list[Case] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    trained: list[Layer] = field(default_factory=list)
    frozen: list[Layer] = field(default_factory=list)
    machine: Machine | None = None
    command: str = ""
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    def __post_init__(self) -> None:
        one_of("task", self.task, TASKS)
        one_of("measured_on", self.measured_on, SPLITS)
        for name in ("updates", "attempts", "skipped"):
            integer(name, getattr(self, name), at_least=0)
        for name in ("epochs", "seconds", "samples_per_second"):
            number(name, getattr(self, name), at_least=0)
        rows = self.confusion or []
        if any(len(row) != len(rows) for row in rows):
            raise invalid("confusion", "be square, one row and one column a class", [len(row) for row in rows])

    def to_json(self) -> str:
        """The record as JSON text, a field a line; a number that is not finite is written as null: JSON has no NaN."""
        # The matrix is plain already, and of a thousand classes it holds a million counts.
        plain = {item.name: _plain(getattr(self, item.name)) for item in fields(self) if item.name != "confusion"}
        plain["confusion"] = self.confusion
        lines = (f" {json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in plain.items())
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Read what `to_json` wrote; null numbers become NaN, keys of a later version are passed over.

        Raises:
            ValueError: the text is not JSON, or not of this form; the message says what is wrong.
        """
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise invalid("result.json", "hold an object", type(raw).__name__)
        try:
            return cls(**_typed(raw))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"result.json is not of the form that hone writes: {error}") from error

    def write(self, path: str | Path) -> None:
        """Write the JSON to ``path``, through a file beside it, so that a reader never sees half of it."""
        path = Path(path)
        beside = path.with_name(path.name + ".part")
        beside.write_text(self.to_json(), encoding="utf-8")
        beside.replace(path)

    @classmethod
    def read(cls, path: str | Path) -> Result:
        """Read a ``result.json``.

        Raises:
            OSError: it cannot be read.
            ValueError: it is not of this form.
        """
        return cls.from_json(Path(path).read_text(encoding="utf-8"))


def _plain(value: Any) -> Any:
    """Records as objects, numbers that are not finite as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _nan_for_null(value: Any) -> float:
    return math.nan if value is None else float(value)


def _record(kind: type[T], raw: Mapping[str, Any], numbers: Sequence[str] = ()) -> T:
    """Build a dataclass from its JSON object; ``numbers`` are the fields where null stands for NaN."""
    known = {item.name: raw[item.name] for item in fields(kind) if item.name in raw}  # type: ignore[arg-type]
    return kind(**known | {name: _nan_for_null(known[name]) for name in numbers if name in known})


#: Fields of `Result` that hold one record, and those that hold a list of them, each with the numbers that may be NaN.
_RECORDS: dict[str, tuple[type[Any], Sequence[str]]] = {
    "best": (Best, ("value",)),
    "predictions": (Predictions, ()),
    "machine": (Machine, ()),
}
_LISTS: dict[str, tuple[type[Any], Sequence[str]]] = {
    "per_class": (ClassScore, ("precision", "recall", "f1")),
    "cases": (Case, ("value",)),
    "mistakes": (Mistake, ("confidence",)),
    "trained": (Layer, ()),
    "frozen": (Layer, ()),
}


def _typed(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the JSON object of a `Result` into the arguments of its constructor."""
    known: dict[str, Any] = {item.name: raw[item.name] for item in fields(Result) if item.name in raw}
    for name in {"final", "baselines"} & known.keys():
        known[name] = {key: _nan_for_null(value) for key, value in known[name].items()}
    for name, (kind, numbers) in _RECORDS.items():
        if known.get(name) is not None:
            known[name] = _record(kind, known[name], numbers)
    for name, (kind, numbers) in _LISTS.items():
        if known.get(name) is not None:
            known[name] = [_record(kind, row, numbers) for row in known[name]]
    return known
