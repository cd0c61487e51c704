"""What the result of a classification of videos says of classes and clips, with strips of film."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hone.data.video.clips import Clips
from hone.data.video.decoding import read_frames
from hone.recipe.closer_look import CloserLook
from hone.recipe.kinds.photos import class_details
from hone.report import Case
from hone.report.cases import ends
from hone.report.film import film_strip
from hone.training import Outputs

#: Frames of a strip, the short side to which they are decoded, and the probabilities that are shown of a clip.
_FRAMES, _SIDE, _SHOWN = 8, 160, 3


def clip_details(outputs: Outputs, clips: Clips, look: CloserLook | None) -> dict[str, Any]:
    """Fields of a result: confusion, scores of the classes, mistakes; and the best and worst clips as strips of film.

    Args:
        outputs: logits of every clip.
        clips: that they are of.
        look: says where pictures go; None draws none.
    """
    found = class_details(outputs, clips)
    if look is None:
        return found
    probs = outputs.logits.softmax(1)
    truth = outputs.targets
    values = probs.gather(1, truth[:, None])[:, 0].tolist()
    cases = []
    for row, rank in ends(values).items():
        index = int(outputs.indices[row])
        file = look.folder / f"{rank.replace(' ', '-')}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        film_strip(_spread(clips, index)).save(file, optimize=True)
        shares, places = probs[row].topk(min(_SHOWN, probs.shape[1]))
        named = {clips.classes[k]: share for k, share in zip(places.tolist(), shares.tolist(), strict=True)}
        path = str(Path(clips.paths[index]).resolve())
        cases.append(
            Case(path, rank, values[row], named, f"{look.folder.name}/{file.name}", clips.classes[int(truth[row])])
        )
    return {**found, "cases": cases}


def _spread(clips: Clips, index: int) -> np.ndarray:
    """Frames from the beginning of a clip to its end."""
    facts = clips.facts(index)
    frames = np.linspace(0, facts.frames - 1, min(_FRAMES, facts.frames)).round().astype(np.int64)
    return read_frames(clips.paths[index], frames, facts, _SIDE).numpy()
