"""What a person at the terminal sees: a few quiet lines, a bar, and where to look; plain lines without a terminal."""

from __future__ import annotations

import sys
import textwrap
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

_PLAIN_EVERY_SECONDS = 15.0


def subject_line(subject: str, text: str) -> str:
    """A line of ``subject     text`` in the columns that all commands share.

    Example:
        >>> subject_line("data", "400 train")
        'data       400 train'
    """
    return f"{subject:<10} {text}"


def say(subject: str, text: str, *, console: Console | None = None) -> None:
    """Print one such line, its subject set apart; at a terminal a long one goes on under its own text."""
    console = console or Console(highlight=False, soft_wrap=True)
    if console.is_terminal:
        under = " " * len(subject_line(subject, ""))
        lines = textwrap.wrap(
            text,
            console.width,
            initial_indent=under,
            subsequent_indent=under,
            break_long_words=False,
            break_on_hyphens=False,
        )
        text = "\n".join(lines).strip()
    console.print(f"[bold cyan]{subject:<10}[/] {text}", soft_wrap=True)


def duration(seconds: float) -> str:
    """Minutes and seconds, hours where there are any.

    Example:
        >>> duration(83), duration(3723)
        ('1:23', '1:02:03')
    """
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def speed(samples_per_second: float, noun: str) -> str:
    """Throughput for people.

    Example:
        >>> speed(57.8, "photos"), speed(0.634, "volumes")
        ('58 photos/s', '0.63 volumes/s')
    """
    number = f"{samples_per_second:.0f}" if samples_per_second >= 10 else f"{samples_per_second:.2g}"
    return f"{number} {noun}/s"


class Bar:
    """The progress of a run: epoch, updates, loss, rate, throughput, time left, last metric.

    Args:
        total_updates: where the run ends.
        updates_per_epoch: to count epochs.
        metric: shown after each evaluation.
        noun: what the samples are called.
        quiet: show nothing.
    """

    def __init__(
        self, total_updates: int, updates_per_epoch: int, metric: str, *, noun: str = "samples", quiet: bool = False
    ) -> None:
        self._total, self._per_epoch, self._metric, self._quiet = total_updates, updates_per_epoch, metric, quiet
        self._noun = noun
        self._console = Console(highlight=False, soft_wrap=True)
        self._is_live = self._console.is_terminal and not quiet
        self._text, self._value = "", ""
        self._spoke = 0.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._is_live:
            self._bar = Progress(
                TextColumn("[bold cyan]{task.description:<10}[/]"),
                BarColumn(bar_width=24),
                TextColumn(
                    "{task.completed:.0f}/{task.total:.0f}  {task.fields[text]}", table_column=Column(no_wrap=True)
                ),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("epoch", total=self._total, text="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, line: dict[str, Any]) -> None:
        """Take a line of ``metrics.jsonl``."""
        if line["kind"] == "train":
            self._train(line)
        else:
            self._evaluation(line)

    def _train(self, line: dict[str, Any]) -> None:
        rate = next(iter(line["lr"].values()))
        skipped = f"  {line['skipped']} of {line['attempt']} skipped" if line["skipped"] else ""
        left = (self._total - line["update"]) * self._seconds_an_update(line)
        pace = speed(line["samples_per_second"], self._noun)
        self._text = f"loss {line['loss']:.3f}  lr {rate:.1e}  {pace}{skipped}  {duration(left)} left"
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task,
                completed=line["update"],
                description=self._epoch(line["update"]),
                text=f"{self._text}  {self._value}",
            )
        elif not self._quiet and time.monotonic() - self._spoke > _PLAIN_EVERY_SECONDS:
            self._spoke = time.monotonic()
            print(f"{self._epoch(line['update'])}  {line['update']}/{self._total}  {self._text}", flush=True)

    def _evaluation(self, line: dict[str, Any]) -> None:
        mark = " *" if line["best"] else ""
        self._value = f"val {line['metrics'][self._metric]:.3f}{mark}"
        if self._quiet:
            return
        metrics = "  ".join(f"{name} {value:.3f}" for name, value in line["metrics"].items())
        self._console.print(
            f"[bold cyan]{self._epoch(line['update']):<10}[/] {line['update']}/{self._total}  {metrics}{mark}"
            f"{'  ' + line['weights'] if 'weights' in line else ''}"
        )
        sys.stdout.flush()

    def _epoch(self, update: int) -> str:
        if not self._total:
            return "probe"
        whole = -(-self._total // self._per_epoch)
        return f"epoch {-(-update // self._per_epoch)}/{whole}"

    def _seconds_an_update(self, line: dict[str, Any]) -> float:
        return float(line["samples_an_update"] / max(line["samples_per_second"], 1e-9))
