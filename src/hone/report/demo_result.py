"""What the demo measured: the same small budget spent in several ways, over several seeds."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from hone.checks import invalid


@dataclass(frozen=True)
class Arm:
    """One way to spend the budget.

    Args:
        name: a short name, such as "fine-tuned".
        accuracy: accuracy[seed][checkpoint] in [0, 1].
        description: what it does, in a few words.
    """

    name: str
    accuracy: list[list[float]]
    description: str = ""

    def at(self, checkpoint: int) -> tuple[float, float]:
        """Mean and standard deviation (n - 1) over the seeds at a checkpoint; 0 deviation for one seed.

        Example:
            >>> Arm("fine-tuned", [[0.1, 0.5], [0.2, 0.75]]).at(1)[0]
            0.625
        """
        values = [row[checkpoint] for row in self.accuracy]
        return math.fsum(values) / len(values), statistics.stdev(values) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class DemoResult:
    """What `hone demo` measured; its page and its lines on the terminal are drawn from this.

    Args:
        updates: the update of each checkpoint, increasing; 0 is before training.
        budget: the updates that count as the small budget; one of ``updates``.
        arms: by name, in the order to show them. Each has a value for every seed and checkpoint.
        labelled: how many labelled images a class the target task has.
        main: the arm that the story is about ("fine-tuned").
        rival: the arm whose catching up is asked for ("from scratch").
        catch_up: the update at which the rival's mean first reaches the main arm's mean at the budget; None if not
            within what was measured.
        source_accuracy: accuracy of the source network on its own classes.
        examples: pictures as rows of grey values, each with its label, of the target task.
        source_examples: the same of the source task.
        seconds: wall-clock time of the whole demo.
        command: the command line.

    Raises:
        ValueError: an arm lacks values, the budget is no checkpoint, or an arm named does not exist.

    Example:
        >>> arms = [Arm("fine-tuned", [[0.1, 0.8]]), Arm("from scratch", [[0.1, 0.4]])]
        >>> demo = DemoResult([0, 20], 20, arms)
        >>> demo.final("fine-tuned")
        (0.8, 0.0)
    """

    updates: list[int]
    budget: int
    arms: list[Arm]
    labelled: int = 10
    main: str = "fine-tuned"
    rival: str = "from scratch"
    catch_up: int | None = None
    source_accuracy: float | None = None
    examples: list[tuple[list[list[float]], str]] = field(default_factory=list)
    source_examples: list[tuple[list[list[float]], str]] = field(default_factory=list)
    seconds: float = 0.0
    command: str = "hone demo"

    def __post_init__(self) -> None:
        if self.budget not in self.updates:
            raise invalid("budget", "be one of the updates", self.budget)
        if any(b <= a for a, b in zip(self.updates, self.updates[1:], strict=False)):
            raise invalid("updates", "increase", self.updates)
        names = [arm.name for arm in self.arms]
        for role, name in (("main", self.main), ("rival", self.rival)):
            if name not in names:
                raise invalid(role, f"be one of the arms {', '.join(names)}", name)
        for arm in self.arms:
            if not arm.accuracy or any(len(row) != len(self.updates) for row in arm.accuracy):
                rule = f"have {len(self.updates)} values, one a checkpoint, for at least one seed"
                raise invalid(f"arm {arm.name!r}", rule, [len(row) for row in arm.accuracy])

    @property
    def seeds(self) -> int:
        return max(len(arm.accuracy) for arm in self.arms)

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    def final(self, name: str) -> tuple[float, float]:
        """Mean and standard deviation of an arm at the budget."""
        return self.arm(name).at(self.updates.index(self.budget))

    def to_json(self) -> str:
        """The record as JSON text."""
        return json.dumps(asdict(self), indent=1) + "\n"


def catch_up(updates: Sequence[int], accuracy: Sequence[Sequence[float]], goal: float) -> int | None:
    """The first update at which an arm's mean over the seeds reaches a goal; None if it never does.

    Args:
        updates: the update of each checkpoint.
        accuracy: of the arm, accuracy[seed][checkpoint].
        goal: the accuracy to reach.

    Example:
        >>> catch_up([0, 20, 80], [[0.1, 0.5, 0.9], [0.1, 0.3, 0.7]], goal=0.75)
        80
    """
    arm = Arm("", [list(row) for row in accuracy])
    return next((update for i, update in enumerate(updates) if arm.at(i)[0] >= goal), None)
