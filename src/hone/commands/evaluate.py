"""``hone evaluate RUN DATA``: a run's best weights, measured on other data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hone.commands.arguments import Parser
from hone.commands.console import say
from hone.recipe.use import evaluate_run


def main(words: Sequence[str]) -> int:
    """Run ``hone evaluate WORDS``."""
    parser = Parser("evaluate", "Measure a run's best weights on other data, from the run folder alone.")
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("data", metavar="DATA", help="data of the run's kind; every class of it is one of the run's")
    parser.add_argument(
        "--split", choices=("all", "train", "val", "test"), default=None, help="which part of DATA (val, else all)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (auto)")
    parser.add_argument("--json", metavar="FILE", help="write the metrics here as well")
    parser.add_argument(
        "--flips",
        action="store_true",
        help="take the mean over mirrored inputs: 8 times the work for volumes, 2 for images with masks",
    )
    found = parser.parse_args(words)
    metrics, examples = evaluate_run(found.run, found.data, split=found.split, device=found.device, flips=found.flips)
    say("data", f"{len(examples)} {examples.noun} of {found.data}")
    for name, value in metrics.items():
        say(name, f"{value:.4f}")
    if found.json:
        Path(found.json).write_text(json.dumps(metrics, indent=1) + "\n")
    return 0
