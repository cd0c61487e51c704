"""A run folder: where each file of a run lies, and what can be loaded from it.

recipe.yaml             every option, as resolved
metrics.jsonl           a line for every few updates and every evaluation; events.out.tfevents* says the same
checkpoints/            where an interrupted run goes on
best.safetensors        the best weights, fp32, plain model keys; last.safetensors the final ones
classes.json            the names of the outputs
preprocessing.json      how a sample becomes the input
transfer.json           what became of each tensor of the source
result.json             what the run ended with
report.html             the same, to look at
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors.torch import load_file
from torch import Tensor, nn

from hone.data.examples import Task
from hone.recipe.kinds import kind_of
from hone.recipe.schema import Recipe, read_recipe, recipe_from
from hone.report import Result
from hone.training import list_checkpoints
from hone.transfer import find_head, replace_head


@dataclass(frozen=True)
class Run:
    """A run folder.

    Args:
        path: the folder.

    Example:
        >>> Run(Path("runs/flowers")).best.as_posix()
        'runs/flowers/best.safetensors'
    """

    path: Path

    @property
    def best(self) -> Path:
        """The best weights by the run's metric."""
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        """The weights at the end."""
        return self.path / "last.safetensors"

    @property
    def report(self) -> Path:
        """The page about the run."""
        return self.path / "report.html"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def recipe(self) -> Recipe:
        """The options, as resolved."""
        return recipe_from(read_recipe(self.path / "recipe.yaml"))

    @property
    def result(self) -> Result:
        """What the run ended with."""
        return Result.read(self.path / "result.json")

    @property
    def classes(self) -> list[str]:
        """The names of the outputs; empty for regression."""
        found: list[str] = json.loads((self.path / "classes.json").read_text())
        return found

    @property
    def preprocessing(self) -> Any:
        """How a sample becomes the input."""
        return kind_of(self.recipe.task).read_preprocessing((self.path / "preprocessing.json").read_text())

    def weights(self) -> dict[str, Tensor]:
        """The best weights, or the last where there was no evaluation."""
        found: dict[str, Tensor] = load_file(self.best if self.best.exists() else self.last)
        return found


@dataclass(frozen=True)
class Loaded:
    """A trained model and all that using it takes.

    Attributes:
        model: in eval mode, on the CPU, with the run's best weights.
        preprocessing: how a sample becomes its input.
        classes: names of its outputs; empty for regression.
        task: what it was trained for.
    """

    model: nn.Module
    preprocessing: Any
    classes: list[str]
    task: Task


def open_run(path: str | Path) -> Run:
    """A run folder that is there.

    Raises:
        ValueError: the folder is missing, or no run of hone.
    """
    folder = Path(path)
    if not (folder / "recipe.yaml").is_file():
        raise ValueError(
            f"run {str(path)!r} is not a run of hone: it has no recipe.yaml; give the folder that hone fit wrote"
        )
    return Run(folder)


def load(run: Run | str | Path, *, model: nn.Module | None = None) -> Loaded:
    """A run's model with its best weights, its preprocessing and its classes.

    Args:
        run: what :func:`hone.finetune` returned, or the run folder.
        model: the network without these weights, for a run to which a network was handed over in Python; its output
            layer is replaced.

    Raises:
        ValueError: it is no run, holds no weights yet, or its network can't be built from the recipe.
    """
    run = run if isinstance(run, Run) else open_run(run)
    if not run.best.exists() and not run.last.exists():
        raise ValueError(f"run {str(run.path)!r} holds no weights yet; hone fit --resume {run.path} goes on with it")
    recipe, state = run.recipe, run.weights()
    network = _built(run, state) if model is None else replace_head(model, _outputs(model, state))
    network.load_state_dict(state)
    task = cast(Task, recipe.task)  # a recipe in a run folder is resolved: its task is no longer "auto"
    return Loaded(network.eval(), run.preprocessing, run.classes, task)


def _built(run: Run, state: dict[str, Tensor]) -> nn.Module:
    """The recipe's network; one that was handed over as an object in Python has no recipe to be built from."""
    try:
        return kind_of(run.recipe.task).network(run, state)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"run {str(run.path)!r}: its network {run.recipe.model.name} can't be built from the recipe alone "
            f"({error}); give one of the same architecture: hone.load(run, model=NETWORK)"
        ) from error


def _outputs(model: nn.Module, state: dict[str, Tensor]) -> int:
    """The size of the output layer that was saved."""
    return len(state[f"{find_head(model)[0].name}.weight"])


def is_started(path: Path) -> bool:
    """Whether a folder already holds a run."""
    return (path / "recipe.yaml").exists() or bool(list_checkpoints(path / "checkpoints"))


def as_json(value: Any) -> str:
    """The text of a small JSON file."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
