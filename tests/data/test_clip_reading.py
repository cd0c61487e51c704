"""Reading folders of clips: layouts, and all that can be wrong with a file, each said in one line that names it."""

from __future__ import annotations

import itertools
import math
import shutil
import wave
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from hone.data.video import opening, reading
from hone.data.video.reading import look_at_clip, read_clips
from hone.data.video.windows import find_clips, windows_of

from .made_clips import number_of, numbered

Encode = Callable[..., Path]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, encode: Encode) -> Path:
    """A good clip of 20 frames."""
    return encode(tmp_path_factory.mktemp("video") / "good.mp4", numbered(20), g="5")


@pytest.fixture
def folder(tmp_path: Path, video: Path) -> Callable[..., Path]:
    """folder("cat/a.mp4", ...): these files, each a copy of the good clip."""

    def make(*names: str) -> Path:
        for name in names:
            (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(video, tmp_path / "data" / name)
        return tmp_path / "data"

    return make


FOUR = ("cat/a.mp4", "cat/b.MOV", "dog/deep/c.mkv", "dog/d.mp4")


def test_class_folders_are_divided_and_described(folder: Callable[..., Path]) -> None:
    root = folder(*FOUR, "cat/notes.txt")
    splits = read_clips(root, val_fraction=0.5, seed=3)
    assert splits.summary() == "2 train, 2 val clips, 2 classes (1 to 1 each), 0.8 s of 160x48"
    assert splits.task == "classify-video" and "1 files that are no clips were passed over" in splits.text()
    assert splits.train.paths == read_clips(root, val_fraction=0.5, seed=3).train.paths
    assert sorted(splits.train.paths + splits.val.paths) == sorted(str(root / name) for name in FOUR)


def test_parts_are_taken_as_they_are(folder: Callable[..., Path]) -> None:
    names = ("cat/a.mp4", "dog/b.mp4")
    root = folder(*(f"{part}/{name}" for part in ("train", "valid", "test") for name in names))
    splits = read_clips(root)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (2, 2, 2)
    assert splits.val.targets.tolist() == [0, 1]


def test_folders_of_pictures_are_clips_beside_videos(folder: Callable[..., Path]) -> None:
    root = folder("cat/a.mp4", "dog/b.mp4")
    for name in ("cat/walk", "dog/run"):
        (root / name).mkdir()
        for number, frame in enumerate(numbered(11)):
            Image.fromarray(frame).save(root / name / f"{number}.jpg")
    splits = read_clips(root, val_fraction=0)
    assert [Path(path).name for path in splits.train.paths] == ["a.mp4", "walk", "b.mp4", "run"]
    assert splits.train.facts(1).frames == 11


def test_a_picture_of_another_size_is_named(tmp_path: Path) -> None:
    for number, size in enumerate(((40, 30), (40, 30), (30, 40))):
        Image.new("RGB", size).save(tmp_path / f"{number}.png")
    with pytest.raises(ValueError, match=r"2\.png is 30x40, and the pictures before it 40x30"):
        look_at_clip(str(tmp_path))


# What is no clip


def cut(path: Path, share: float = 0.6) -> Path:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


def sound_only(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(8000))
    return path


def picture(path: Path, form: str) -> Path:
    Image.new("RGB", (64, 48), (200, 30, 30)).save(path, form)
    return path


def text(path: Path) -> Path:
    path.write_text("hello\n" * 50)
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


BAD: dict[str, tuple[Callable[[Path, Encode], object], str]] = {
    "empty": (lambda path, encode: empty(path), "the file is empty"),
    "text": (lambda path, encode: text(path), "its content is damaged or not that of any known video format"),
    "sound": (lambda path, encode: sound_only(path), "it holds sound and no video"),
    "jpeg": (lambda path, encode: picture(path, "JPEG"), "it is a still image (jpeg), not a video"),
    "png": (lambda path, encode: picture(path, "PNG"), "it is a still image (png), not a video"),
    "cut mp4": (lambda path, encode: cut(encode(path, numbered(30))), "it is truncated"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_one_line_that_names_it(folder: Callable[..., Path], encode: Encode, kind: str) -> None:
    make, reason = BAD[kind]
    root = folder(*FOUR)
    make(root / "dog" / "bad.mp4", encode)
    with pytest.raises(ValueError) as found:
        read_clips(root)
    line = str(found.value)
    assert line.startswith(f"{root}/dog/bad.mp4 can't be read as a clip: {reason}") and "\n" not in line
    splits = read_clips(root, skip_unreadable=True)
    assert splits.skipped == [f"{root}/dog/bad.mp4: {reason}"] and len(splits.train) + len(splits.val) == 4


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("front", [False, True])
def test_every_cut_is_found(tmp_path: Path, encode: Encode, name: str, share: float, front: bool) -> None:
    """Also where the index stands in front, so that a demuxer sees nothing amiss until the bytes end."""
    codec = {"a.webm": "libvpx", "a.avi": "mpeg4"}.get(name, "libx264")
    path = encode(tmp_path / name, numbered(30), codec)
    if front and name.endswith(("mp4", "mov")):
        path = remuxed(path, tmp_path / f"front-{name}")
    look_at_clip(str(path))
    with pytest.raises(ValueError, match="it is truncated"):
        look_at_clip(str(cut(path, share)))


def remuxed(path: Path, target: Path) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path)) as source, av.open(str(target), "w", options={"movflags": "faststart"}) as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    return target


def test_all_bad_files_are_found_by_one_pass(folder: Callable[..., Path]) -> None:
    root = folder(*FOUR)
    for name in ("cat/x.mp4", "dog/y.mp4"):
        (root / name).touch()
    with pytest.raises(ValueError, match=r"cat/x\.mp4 .*the file is empty, and 1 more clips"):
        read_clips(root)


def test_a_second_look_opens_only_what_changed(
    folder: Callable[..., Path], encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(*FOUR)
    seen: list[str] = []

    def counted(path: str) -> opening.VideoFacts:
        seen.append(Path(path).name)
        return look_at_clip(path)

    monkeypatch.setattr(reading, "look_at_clip", counted)
    first = read_clips(root)
    assert sorted(seen) == ["a.mp4", "b.MOV", "c.mkv", "d.mp4"]
    seen.clear()
    again = read_clips(root)
    assert seen == [] and (first.train.stats == again.train.stats).all()
    encode(root / "cat" / "a.mp4", numbered(7))
    changed = read_clips(root, val_fraction=0)
    assert seen == ["a.mp4"] and changed.train.facts(0).frames == 7


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("cat/a.mp4",), "DATA must hold at least 2 classes, got 'cat only'"),
        (("cat/a.mp4", "dog/notes.txt"), "class folder must hold at least one clip"),
        (("train/cat/a.mp4", "train/dog/b.mp4", "val/cow/c.mp4"), "train must show every class, got 'none of cow'"),
    ],
)
def test_a_layout_that_cannot_be_meant(folder: Callable[..., Path], names: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_clips(folder(*names))


def test_classes_of_a_trained_model(folder: Callable[..., Path]) -> None:
    root = folder("cat/a.mp4", "dog/b.mp4")
    assert read_clips(root, val_fraction=0, classes=["ant", "cat", "dog"]).train.targets.tolist() == [1, 2]
    with pytest.raises(ValueError, match="classes that the run does not know: dog; it knows cat"):
        read_clips(root, classes=["cat"])


def test_pyav_is_asked_for_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "torch-hone\[video\]"'):
        opening.pyav()


# Windows over long videos


def test_windows_cover_a_video_and_know_their_frames(tmp_path: Path, encode: Encode) -> None:
    from hone.data.video.decoding import read_frames

    path = encode(tmp_path / "long.mp4", numbered(250), g="10")
    windows = windows_of(str(path), ["a", "b"], seconds=2.0)
    facts = [windows.facts(row) for row in range(len(windows))]
    assert len(windows) == 9 and {each.frames for each in facts} == {50}
    assert facts[0].start == 0 and facts[-1].start + facts[-1].length == 10_000_000
    assert all(later.start - sooner.start == 1_000_000 for sooner, later in itertools.pairwise(facts))
    for each in facts:
        shown = [number_of(frame) for frame in read_frames(path, [0, 24, 49], each).numpy()]
        assert shown == [math.floor(each.start / 40_000 + k) for k in (0, 24, 49)]


def test_a_video_little_longer_than_a_window_is_one(video: Path) -> None:
    assert len(windows_of(str(video), ["a"], seconds=0.6)) == 1
    assert len(windows_of(str(video), ["a"], seconds=9.0)) == 1


def test_clips_are_found_where_they_are_asked_for(folder: Callable[..., Path]) -> None:
    root = folder(*FOUR)
    (root / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(root / "pictures" / "0.png")
    assert find_clips([root / "dog"]) == [f"{root}/dog/d.mp4", f"{root}/dog/deep/c.mkv"]
    assert find_clips([root / "pictures", root / "cat" / "a.mp4"]) == [f"{root}/pictures", f"{root}/cat/a.mp4"]
    with pytest.raises(ValueError, match="PATH must be a video"):
        find_clips([root / "nothing"])
