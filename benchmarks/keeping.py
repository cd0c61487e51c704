"""Which weights to keep: what a choice by so many photos is worth on others, by several rules.

    python benchmarks/keeping.py record DATA WEIGHTS RECORD.pt [--train 80] [--seed 0]
    python benchmarks/keeping.py rules RECORD.pt ... [--by 100] [--draws 200]

``record`` draws so many photos of each class to train on, and up to 400 others, from all photos below DATA
(``CLASS/*.jpg``, or that below ``train`` and ``val``), fine-tunes MobileNetV2 as ``hone fit`` does with nothing stated,
and notes what every candidate said of the others: probe, epochs, averages. ``rules`` lets some of these photos choose,
and scores what is chosen on the rest, again and again.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hone.training import Outputs, calibrated_losses, standard_error

HELD, SIZE = 400, 160


def draw(data: Path, count: int, seed: int, folder: Path) -> None:
    """Links to so many photos of each class, and to others."""
    found: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(path for path in data.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")):
        found[file.parent.name].append(file)
    generator = random.Random(f"{count} {seed}")
    for kind, files in found.items():
        generator.shuffle(files)
        for part, taken in (("train", files[:count]), ("val", files[count:][: HELD // len(found)])):
            (folder / part / kind).mkdir(parents=True)
            for place, file in enumerate(taken):
                (folder / part / kind / f"{place:04}{file.suffix}").symlink_to(file.resolve())


def record(options: argparse.Namespace) -> None:
    """Run, and note the outputs of every evaluation under the weights' name."""
    from hone import cli
    from hone.recipe.averages import PROBE
    from hone.recipe.run import _Training

    noted: dict[str, Outputs] = {}
    judge, judged = _Training.judge, _Training.judged

    def note_evaluation(self: Any, metrics: dict[str, float]) -> dict[str, Any]:
        update = self.state.loop.update
        noted[f"update {update}" if update else PROBE] = self.outputs
        return judge(self, metrics)

    def note_average(self: Any, name: str, metrics: dict[str, float]) -> Any:
        noted.setdefault(name, self.outputs)
        return judged(self, name, metrics)

    _Training.judge, _Training.judged = note_evaluation, note_average  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(options.data), options.train, options.seed, Path(folder))
        network = ["--model", "mobilenet_v2", "--weights", options.weights, "--image-size", str(SIZE)]
        words = ["--strategy", "finetune", "--seed", str(options.seed), "--out", f"{folder}/run"]
        if cli.main(["fit", folder, *network, *words]):
            raise SystemExit(1)
    torch.save({name: (found.logits, found.targets) for name, found in noted.items()}, options.record)


Rule = Callable[[dict[str, Outputs], dict[str, float]], str]


def evaluations(accuracy: dict[str, float]) -> list[str]:
    return ["linear probe", *(name for name in accuracy if name.startswith("update"))]


def highest(outputs: dict[str, Outputs], accuracy: dict[str, float]) -> str:
    return max(accuracy, key=lambda name: accuracy[name])


def in_use(outputs: dict[str, Outputs], accuracy: dict[str, float]) -> str:
    from hone.recipe.keeping import Judged, choose

    count = len(next(iter(outputs.values())).targets)
    best = max(evaluations(accuracy), key=lambda name: accuracy[name])
    doubt = standard_error("accuracy", max(accuracy.values()), count)
    settled = [
        Judged(name, {"accuracy": accuracy[name]}, calibrated_losses("classify", found))
        for name, found in outputs.items()
        if not name.startswith("update") and accuracy[name] >= max(accuracy.values()) - doubt
    ]
    settled.sort(key=lambda each: each.name == "linear probe")  # what is trusted least comes last
    kept = choose(settled, "accuracy", best=accuracy[best], least=accuracy["linear probe"], count=count)
    return best if kept is None else kept.name


def smallest_loss(outputs: dict[str, Outputs], accuracy: dict[str, float]) -> str:
    return min(outputs, key=lambda name: float(torch.nn.functional.cross_entropy(*vars_of(outputs[name]))))


def vars_of(found: Outputs) -> tuple[torch.Tensor, torch.Tensor]:
    return found.logits, found.targets


def always(name: str) -> Rule:
    return lambda outputs, accuracy: name


RULES: dict[str, Rule] = {
    "in use": in_use,
    "highest accuracy": highest,
    "smallest loss": smallest_loss,
    "always the probe": always("linear probe"),
    "always the last epoch": lambda outputs, accuracy: evaluations(accuracy)[-1],
    "always half-way to the mean": always("50% of the way from the probe to the mean"),
}


def rules(options: argparse.Namespace) -> None:
    """The mean score of what each rule chose, a column a record."""
    scores: dict[str, list[float]] = defaultdict(list)
    for path in options.records:
        found = torch.load(path)
        targets = found["linear probe"][1]
        sums = dict.fromkeys(RULES, 0.0)
        for seed in range(options.draws):
            chosen = some(targets, options.by, seed)
            outputs = {
                name: Outputs(logits[chosen], targets[chosen], torch.arange(int(chosen.sum())), 0.0)
                for name, (logits, _) in found.items()
            }
            right = {name: (logits.argmax(1) == targets).double() for name, (logits, _) in found.items()}
            accuracy = {name: float(each[chosen].mean()) for name, each in right.items()}
            for name, rule in RULES.items():
                sums[name] += float(right[rule(outputs, accuracy)][~chosen].mean()) / options.draws
        for name, value in sums.items():
            scores[name].append(value)
    print(f"{'':28} mean   against the highest accuracy: mean, least, most; each record")
    for name, values in scores.items():
        against = [value - other for value, other in zip(values, scores["highest accuracy"], strict=True)]
        mean = sum(values) / len(values), sum(against) / len(against)
        each = " ".join(f"{value:.3f}" for value in values)
        print(f"{name:28} {mean[0]:.4f} {mean[1]:+.4f} {min(against):+.3f} {max(against):+.3f}   {each}")


def some(targets: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """A mask of about so many samples, as many of each class, at most half of them."""
    generator, mask = torch.Generator().manual_seed(seed), torch.zeros(len(targets), dtype=torch.bool)
    kinds = targets.unique()
    for kind in kinds:
        rows = (targets == kind).nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=generator)]
        mask[rows[: min(len(rows) // 2, count // len(kinds))]] = True
    return mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    recording = verbs.add_parser("record")
    for name in ("data", "weights", "record"):
        recording.add_argument(name)
    recording.add_argument("--train", type=int, default=80)
    recording.add_argument("--seed", type=int, default=0)
    recording.set_defaults(job=record)
    ruling = verbs.add_parser("rules")
    ruling.add_argument("records", nargs="+")
    ruling.add_argument("--by", type=int, default=100)
    ruling.add_argument("--draws", type=int, default=200)
    ruling.set_defaults(job=rules)
    options = parser.parse_args()
    options.job(options)


if __name__ == "__main__":
    main()
