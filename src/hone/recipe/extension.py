"""Another length for a run that goes on: what it was planned for, and how often it has been given another end since."""

from __future__ import annotations

from typing import Any

from hone import checks
from hone.recipe.folder import Run
from hone.recipe.job import Job
from hone.recipe.state import Extension
from hone.schedules import extend, horizon_changed
from hone.training import list_checkpoints, read_checkpoint


def extend_job(job: Job, run: Run, updates: int | None = None, on_extend: str | None = None) -> None:
    """Give a job the ends that its run was given before, and one more where another length is asked for.

    Args:
        job: as its recipe planned it; its schedule and its end are changed in place.
        run: where it goes on.
        updates: the length that is asked for; None keeps what there is.
        on_extend: what the schedule makes of another length.

    Raises:
        ValueError: the run has come further already, its checkpoint is damaged, or ``on_extend`` is missing: what each
            choice means is shown.
    """
    state = _state(run)
    for entry in state.get("extensions", []):
        _extend(job, Extension(*entry))
    if updates is None or updates == job.total_updates:
        return
    update = int(state["run"]["update"]) if state else 0
    checks.integer("updates", updates, at_least=update + 1)
    if state and hasattr(job.schedule, "load_state_dict"):
        job.schedule.load_state_dict(state["schedule"])
    if on_extend is None:
        raise horizon_changed(job.schedule, update=update, total_updates=updates)
    # extend() refuses an unknown choice, so what is kept is one of the three.
    _extend(job, Extension(on_extend, update, updates))  # type: ignore[arg-type]


def is_further_extended(job: Job, state: dict[str, Any]) -> bool:
    """Whether the job has an end that a checkpoint's state does not know: its readings are then in place already."""
    return len(job.extensions) > len(state.get("extensions", []))


def _extend(job: Job, extension: Extension) -> None:
    kind, update, total = extension
    job.schedule = extend(job.schedule, kind, update=update, total_updates=total)
    job.extensions = (*job.extensions, extension)


def _state(run: Run) -> dict[str, Any]:
    """The plain values of the newest checkpoint; empty where there is none."""
    found = list_checkpoints(run.checkpoints)
    return read_checkpoint(found[-1]).state if found else {}
