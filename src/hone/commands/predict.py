"""``hone predict RUN PATH...``: what is on photos, volumes or clips, with a run's best weights."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from hone.commands.arguments import Parser
from hone.recipe.folder import open_run
from hone.recipe.prediction import Prediction
from hone.recipe.use import predict_run, score_names
from hone.training.folders import written_beside


def main(words: Sequence[str]) -> int:
    """Run ``hone predict WORDS``."""
    parser = Parser(
        "predict", "Say what is on photos, volumes or clips, with a run's best weights, from the run folder alone."
    )
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("paths", metavar="PATH", nargs="+", help="files, or folders of them")
    parser.add_argument("--csv", metavar="FILE", help="write every class's probability here")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (auto)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="inputs at a time (32 photos)")
    parser.add_argument("--out", metavar="FOLDER", help="write predicted masks, volumes, or tables of long clips here")
    parser.add_argument("--memory", metavar="BYTES", help="what one prediction may take, such as 4GB")
    parser.add_argument(
        "--flips",
        action="store_true",
        help="take the mean over mirrored inputs: 8 times the work for volumes, 2 for images with masks",
    )
    found = parser.parse_args(words)
    rows = predict_run(
        found.run,
        found.paths,
        device=found.device,
        batch_size=found.batch_size,
        out=found.out,
        memory=found.memory,
        flips=found.flips,
    )
    if found.csv is None:
        for row in rows:
            print(f"{row.path}\t{row.label}" + (f"\t{row.confidence:.3f}" if row.confidence is not None else ""))
        return 0
    target = Path(found.csv)
    with written_beside(target) as draft:
        count = _write(rows, draft, score_names(open_run(found.run)))
    print(f"{count} predictions  ->  {target}", file=sys.stderr)
    return 0


def _write(rows: Iterable[Prediction], path: Path, names: Sequence[str]) -> int:
    count = 0
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "confidence", *names])
        for row in rows:
            confidence = "" if row.confidence is None else f"{row.confidence:.6f}"
            table.writerow([row.path, row.label, confidence, *(f"{score:.6g}" for score in row.scores)])
            count += 1
    return count
