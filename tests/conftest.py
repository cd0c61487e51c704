"""Shared by all tests: one thread a process (two processes run side by side), and where the real data lies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded photos and measured plans go to a folder that is deleted, not to the user's cache."""
    os.environ["HONE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos, masks, volumes and weights; a test that needs it skips where it is not."""
    if not SHARED.is_dir():
        pytest.skip(f"real data is not here ({SHARED})")
    return SHARED


@pytest.fixture(scope="session")
def encode() -> Callable[..., Path]:
    """encode(PATH, FRAMES, ...): write (height, width, 3) uint8 frames as a video, the codec's options by name."""
    av = pytest.importorskip("av")

    def write(
        path: Path,
        frames: Iterable[np.ndarray],
        codec: str = "libx264",
        *,
        rate: int = 25,
        turned: int = 0,
        milliseconds: Sequence[int] | None = None,
        sound: bool = False,
        **options: str,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = list(frames)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate, options=options)
            stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
            stream.set_display_rotation(turned)
            if milliseconds is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            noise = container.add_stream("aac", rate=16000) if sound else None
            for place, pixels in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                frame.pts = place if milliseconds is None else milliseconds[place]
                frame.time_base = Fraction(1, rate) if milliseconds is None else Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            if noise is not None:
                for place in range(40):
                    silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                    silence.sample_rate, silence.pts = 16000, 1024 * place
                    container.mux(noise.encode(silence))
                container.mux(noise.encode())
        return path

    return write
