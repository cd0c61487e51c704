"""``hone doctor DATA``: which half-precision formats are safe for this model, on this data."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from torch import Tensor

from hone import checks
from hone.commands.arguments import values_from_arguments
from hone.commands.console import say
from hone.commands.tables import add_row, columns, show
from hone.precision import Diagnosis, Verdict, diagnose, draw_layers, keep_fp32
from hone.recipe.build import build_job
from hone.recipe.job import Job
from hone.recipe.notes import notes
from hone.recipe.schema import recipe_from
from hone.recipe.trial import check_fits
from hone.training import World, pick_device
from hone.transfer import apply_freeze

_WHAT = """\
Run a few real batches forward and backward in float32 and in each half format, and compare every operation: which
formats are safe, what breaks the others, and which modules in float32 would make them safe. Nothing is trained."""
_HALVES = ("bf16", "fp16")
_EXTRA: list[tuple[str, dict[str, Any]]] = [
    ("--batches", {"type": int, "default": 2, "metavar": "N", "help": "batches to look at (2)"}),
    ("--layers", {"action": "store_true", "help": "show every operation's figures, too"}),
    ("--out", {"metavar": "FILE", "help": "draw the layers, a picture a format: NAME-bf16.png, NAME-fp16.png"}),
    ("--json", {"metavar": "FILE", "help": "write everything here"}),
]


def main(words: Sequence[str]) -> int:
    """Run ``hone doctor WORDS``."""
    values, found = values_from_arguments(words, "doctor", _WHAT, _EXTRA)
    recipe = recipe_from(values)
    checks.integer("batches", found.batches, at_least=1)
    # The format is what is asked about: the job itself is built in float32, which every device has.
    kinds = (recipe.precision,) if recipe.precision in _HALVES else _HALVES
    job = build_job(dataclasses.replace(recipe, precision="fp32"), World(device=pick_device(recipe.device)))
    check_fits(job)
    told = dict(notes(job))
    for subject in ("data", "model", "trains"):
        say(subject, escape(told[subject]))
    batches = list(itertools.islice(job.train.batches(0), found.batches))
    seen = f"{sum(len(target) for _, target in batches)} {job.splits.train.noun}"
    say(
        "looked at",
        f"{seen} in {len(batches)} {'batches' if len(batches) > 1 else 'batch'}, forward and backward",
    )
    diagnosis = examine(job, batches, kinds)
    _show(diagnosis)
    if found.layers:
        for kind in (verdict.kind for verdict in diagnosis.verdicts if verdict.layers):
            say("layers", f"in {kind}")
            print(diagnosis.table(kind))
    _say_advice(diagnosis)
    if found.out:
        for picture in draw(diagnosis, Path(found.out)):
            say("picture", escape(str(picture)))
    if found.json:
        diagnosis.to_json(Path(found.json))
    return 0


def examine(job: Job, batches: Sequence[tuple[Tensor, Tensor]], kinds: Sequence[str]) -> Diagnosis:
    """Diagnose every batch, and keep of each format the worst that was seen.

    Modules that made single batches safe in float32 are advised together, and only if together they make all batches
    safe.

    Args:
        job: as built for a run; its weights are left as they are.
        batches: inputs and target.
        kinds: of ``bf16`` and ``fp16``.
    """
    job.model.train()
    apply_freeze(job.model, job.plan)
    seen = [diagnose(job.model, batch, job.criterion, kinds=kinds) for batch in batches]
    found = []
    for kind in [verdict.kind for verdict in min(seen, key=lambda one: len(one.verdicts)).verdicts]:
        worst = min((one[kind] for one in seen), key=_soundness)
        advice = tuple(dict.fromkeys(name for one in seen for name in one[kind].keep_fp32))
        if advice and len(batches) > 1 and not _is_safe_with(job, batches, kind, advice):
            advice = ()
        found.append(dataclasses.replace(worst, keep_fp32=advice))
    return Diagnosis(tuple(found))


def _is_safe_with(job: Job, batches: Sequence[tuple[Tensor, Tensor]], kind: str, names: Sequence[str]) -> bool:
    held = keep_fp32(job.model, *names)
    try:
        return all(diagnose(job.model, batch, job.criterion, kinds=[kind])[kind].safe for batch in batches)
    finally:
        held.remove()


def _soundness(verdict: Verdict) -> tuple[bool, float]:
    """Smaller is worse; an unsafe verdict is worse than any safe one, and a cosine that is NaN worse than a number."""
    return verdict.safe, verdict.grad_cosine if verdict.grad_cosine == verdict.grad_cosine else -2.0


def draw(diagnosis: Diagnosis, path: Path) -> list[Path]:
    """A picture of every format that has layers to show, named after it."""
    shown = [verdict for verdict in diagnosis.verdicts if verdict.layers]
    return [draw_layers(verdict, path.with_stem(f"{path.stem}-{verdict.kind}")) for verdict in shown]


def _show(diagnosis: Diagnosis) -> None:
    table = columns("format", "safe", ">loss", ">loss error", ">gradient cosine", ">loss scale", "first fault")
    for verdict in diagnosis.verdicts:
        figures = [f"{verdict.loss:.4g}", f"{verdict.loss_error:.1e}", f"{verdict.grad_cosine:.4f}"]
        fault = "" if verdict.fault is None else str(verdict.fault)
        row = [verdict.kind, "yes" if verdict.safe else "no", *figures, f"{verdict.scale:g}", fault]
        add_row(table, row, style="" if verdict.safe else "red")
    show(table)


def _say_advice(diagnosis: Diagnosis) -> None:
    for verdict in diagnosis.verdicts:
        if verdict.keep_fp32:
            options = " ".join(f"--keep-fp32 {name}" for name in verdict.keep_fp32)
            say(verdict.kind, escape(f"is safe with --precision {verdict.kind} {options}"))
    if not diagnosis.verdicts[0].safe:
        say("take", "no format yet: float32 itself is not finite; look at the loss, the rates' effect and the data")
        return
    say("take", f"--precision {diagnosis.recommended}" + _slow(diagnosis.recommended))


def _slow(kind: str) -> str:
    return "" if kind == "fp32" else "  (safe is not fast: hone plan measures that)"
