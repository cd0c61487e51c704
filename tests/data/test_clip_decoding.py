"""Decoding of clips: exactly the wanted frames, whatever the container, the codec and the order of decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hone.data.video import decoding
from hone.data.video.decoding import read_frames
from hone.data.video.opening import look_at_video
from hone.data.video.reading import look_at_clip

from .made_clips import number_of, numbered

av = pytest.importorskip("av")
Encode = Callable[..., Path]

FORMS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"g": "12", "bf": "2"},
    "open gop.mp4": {"g": "12", "bf": "3", "x264-params": "open-gop=1"},
    "one key frame.mov": {},
    "h264.mkv": {"g": "12"},
    "vp8.webm": {"codec": "libvpx", "g": "12", "deadline": "realtime"},
    "hevc.mp4": {"codec": "libx265", "preset": "ultrafast", "x265-params": "keyint=12:log-level=none"},
    "mpeg4.avi": {"codec": "mpeg4", "g": "12"},
    "reordered.avi": {"codec": "mpeg4", "g": "12", "bf": "2"},
    "h264.avi": {"g": "12", "bf": "2"},
}


def read(path: Path, frames: list[int], side: int | None = None) -> torch.Tensor:
    return read_frames(path, frames, look_at_clip(str(path)), side)


@pytest.mark.parametrize("form", FORMS)
def test_the_wanted_frames_and_no_others(tmp_path: Path, encode: Encode, form: str) -> None:
    path = encode(tmp_path / form, numbered(50, first=100), **FORMS[form])
    facts = look_at_video(str(path))
    assert (facts.frames, facts.width, facts.height) == (50, 160, 48)
    generator = np.random.default_rng(0)
    for count in (1, 2, 4, 4, 9):
        wanted = generator.integers(0, 50, count).tolist()
        found = read_frames(path, wanted, facts)
        assert [number_of(frame) - 100 for frame in found.numpy()] == wanted


def test_the_pixels_are_those_of_decoding_from_the_start(tmp_path: Path, encode: Encode) -> None:
    path = encode(tmp_path / "a.mp4", numbered(40), g="8", bf="2")
    with av.open(str(path)) as container:
        plain = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert all(np.array_equal(read(path, [k])[0], plain[k]) for k in (0, 7, 8, 9, 23, 39))


def test_no_more_is_decoded_than_from_the_key_frame_on(
    tmp_path: Path, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "a.mp4", numbered(300), g="10", bf="0")
    decoded: list[float] = []
    timed = decoding._timed

    def counted(*parts: Any) -> Iterator[tuple[float, Any]]:
        for moment, frame in timed(*parts):
            decoded.append(moment)
            yield moment, frame

    monkeypatch.setattr(decoding, "_timed", counted)
    found = read(path, [95, 205, 209])
    assert [number_of(frame) for frame in found.numpy()] == [95, 205, 209]
    assert len(decoded) <= 6 + 1 + 10 + 1  # 90 to 95, 200 to 209, and one ahead of each


def test_frames_that_nothing_is_decoded_from_are_passed_by(
    tmp_path: Path, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "a.mp4", numbered(200), g="200", bf="3")
    decoded: list[float] = []
    timed = decoding._timed

    def counted(*parts: Any) -> Iterator[tuple[float, Any]]:
        for moment, frame in timed(*parts):
            decoded.append(moment)
            yield moment, frame

    monkeypatch.setattr(decoding, "_timed", counted)
    wanted = list(range(10, 200, 30))
    assert [number_of(frame) for frame in read(path, wanted).numpy()] == wanted
    assert len(decoded) < 0.75 * max(wanted)


def test_a_variable_rate_gives_what_is_shown_at_that_time(tmp_path: Path, encode: Encode) -> None:
    gaps = np.random.default_rng(1).integers(10, 300, 30)
    times = (500 + np.cumsum(gaps)).tolist()
    for name in ("a.mp4", "a.mkv"):
        path = encode(tmp_path / name, numbered(30), milliseconds=times, g="7")
        facts = look_at_video(str(path))
        moments = [facts.start / 1e3 + (k + 0.5) * facts.length / facts.frames / 1e3 for k in range(30)]
        # The container's own clock may round a millisecond away.
        shown = [max((k for k in range(30) if times[k] <= moment + 1), default=0) for moment in moments]
        assert [number_of(frame) for frame in read_frames(path, range(30), facts).numpy()] == shown
        assert len(set(shown)) < 30, "this clip's rate does vary"


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_a_turned_video_is_put_upright(tmp_path: Path, encode: Encode, turned: int) -> None:
    frame = np.zeros((48, 96, 3), np.uint8)
    frame[:24, :48] = (255, 0, 0)
    path = encode(tmp_path / "a.mp4", [frame] * 3, turned=turned)
    facts = look_at_video(str(path))
    upright = np.rot90(frame, turned // 90)
    assert (facts.height, facts.width) == upright.shape[:2]
    assert np.abs(read_frames(path, [1], facts)[0].numpy().astype(int) - upright).mean() < 12


def test_frames_are_reduced_and_never_enlarged(tmp_path: Path, encode: Encode) -> None:
    path = encode(tmp_path / "a.mp4", numbered(4))
    assert read(path, [0, 3], 24).shape == (2, 24, 80, 3)
    assert read(path, [0, 3], 500).shape == (2, 48, 160, 3)
    assert [number_of(frame) for frame in read(path, [1, 3], 24).numpy()] == [1, 3]


def test_sound_is_passed_over(tmp_path: Path, encode: Encode) -> None:
    path = encode(tmp_path / "a.mp4", numbered(30), sound=True, g="10")
    assert look_at_video(str(path)).frames == 30
    assert [number_of(frame) for frame in read(path, [0, 12, 29]).numpy()] == [0, 12, 29]


def test_a_folder_of_pictures_is_a_clip(tmp_path: Path) -> None:
    for number, frame in enumerate(numbered(12)):
        Image.fromarray(frame).save(tmp_path / f"frame{number}.png")
    facts = look_at_clip(str(tmp_path))
    assert (facts.frames, facts.length) == (12, 480_000)
    assert [number_of(frame) for frame in read(tmp_path, [2, 10, 11, 2]).numpy()] == [2, 10, 11, 2]


def test_a_number_beyond_the_clip_is_refused(tmp_path: Path, encode: Encode) -> None:
    path = encode(tmp_path / "a.mp4", numbered(4))
    with pytest.raises(ValueError, match=r"frames must lie in \[0, 4\), got \[4\]"):
        read(path, [4])


def test_damage_is_named_when_it_is_decoded(tmp_path: Path, encode: Encode) -> None:
    path = encode(tmp_path / "a.mp4", numbered(60), "mpeg4", g="30")
    facts = look_at_video(str(path))
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.mp4 can't be read as a clip"):
        read_frames(path, range(60), facts)


def test_memory_stays_flat(tmp_path: Path, encode: Encode) -> None:
    path = encode(tmp_path / "a.mp4", numbered(30))
    facts = look_at_video(str(path))

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4

    for _ in range(10):
        read_frames(path, [3, 20], facts)
    before = resident()
    for _ in range(150):
        read_frames(path, [3, 20], facts)
    assert resident() - before < 5_000, "kB; decoders that were kept would take more than 12,000"
