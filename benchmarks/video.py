"""What video costs, and what it learns: motion that no single frame shows, decoding, the loader's share, bf16.

python benchmarks/video.py twins PHOTOS
python benchmarks/video.py decoding PHOTOS
python benchmarks/video.py memory PHOTOS
python benchmarks/video.py loader PHOTOS
python benchmarks/video.py precision

PHOTOS is a folder of train/CLASS/*.jpg and val/CLASS/*.jpg.
torchcodec is measured where it can be imported; it brings no FFmpeg, and PyAV's will do: links named libavcodec.so.62
and so on to the files in site-packages/av.libs, in a folder that LD_LIBRARY_PATH names before av.libs itself.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image

from hone.data import Preprocessing
from hone.data.decoding import resize
from hone.data.video.batches import ClipBatches
from hone.data.video.clips import Clips
from hone.data.video.decoding import read_frames
from hone.data.video.preprocessing import ClipPreprocessing
from hone.data.video.reading import look_at_clip, read_clips
from hone.data.video.sampling import Sampling

MOTIONS = ("zoom_in", "zoom_out", "pan_right", "pan_left")


def encode(path: Path, frames: Iterable[np.ndarray], *, rate: int = 25, codec: str = "libx264", **options: str) -> None:
    """Write frames (height, width, 3) uint8 as a video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = None
        for frame in frames:
            if stream is None:
                stream = container.add_stream(codec, rate=rate, options=options)
                stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())


def motion(photo: Image.Image, kind: str, seed: int, frames: int = 16, side: int = 72) -> Iterator[np.ndarray]:
    """A clip of a photo under a moving window; zoom_out is zoom_in played backwards, and pan_left is pan_right."""
    generator = random.Random(seed)
    size = min(photo.size) * generator.uniform(0.75, 0.9)
    share = generator.uniform(0.6, 0.75)
    left, top = ((length - size) * generator.random() for length in photo.size)
    times = np.linspace(0, 1, frames)
    for time_ in times if kind in ("zoom_in", "pan_right") else times[::-1]:
        now = size * (1 - (1 - share) * time_) if kind.startswith("zoom") else size * share
        x = left + ((size - now) / 2 if kind.startswith("zoom") else (size - now) * time_)
        y = top + (size - now) / 2
        yield np.asarray(photo.resize((side, side), Image.Resampling.BICUBIC, (x, y, x + now, y + now)))


def twins(photos: Path, out: Path, per_class: dict[str, int]) -> Path:
    """train/MOTION/*.mp4 and val/MOTION/*.mp4: each photo under all motions, so a photo tells nothing of the motion."""
    for part, count in per_class.items():
        files = [file for folder in sorted((photos / part).iterdir()) for file in sorted(folder.iterdir())[:count]]
        for seed, file in enumerate(files):
            with Image.open(file) as image:
                photo = image.convert("RGB")
            for kind in MOTIONS:
                encode(out / part / kind / f"{file.stem}.mp4", motion(photo, kind, seed))
    return out


NETWORK = """
from torch import nn

def small(num_classes=10):
    layers = []
    for narrow, wide in ((3, 16), (16, 32), (32, 48)):
        layers += [nn.Conv2d(narrow, wide, 3, 2, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, num_classes))
"""


def fit(folder: Path, data: Path, name: str, *words: str) -> dict[str, Any]:
    """One run of the command; its result."""
    command = [sys.executable, "-m", "hone", "fit", str(data), "--out", f"runs/{name}", "--device", "cpu", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    found: dict[str, Any] = json.loads((folder / "runs" / name / "result.json").read_text())
    return found


def learned(photos: Path) -> None:
    """A small image network learns flowers; inflated, it learns motion, and frame by frame it can't."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "networks.py").write_text(NETWORK)
        data = twins(photos, folder / "data", {"train": 12, "val": 5})
        common = ["--batch-size", "16", "--lr", "0.01", "--norm", "follow", "--strategy", "none", "--head", "random"]
        common += ["--image-size", "40", "--head-multiplier", "1"]
        flowers = fit(folder, photos.resolve(), "flowers", "--model", "networks:small", "--updates", "150", *common)
        print(f"flowers, one photo at a time: accuracy {flowers['best']['value']:.3f}")
        common += ["--weights", "runs/flowers/best.safetensors", "--sampling", "uniform"]
        for kind, length in (("inflated", 300), ("frames", 100)):
            start = time.perf_counter()
            found = fit(folder, data, kind, "--model", f"{kind}:networks:small", "--updates", str(length), *common)
            counts = np.array(found["confusion"])  # classes: pan_left, pan_right, zoom_in, zoom_out
            right = sum(counts[row, row] for row in range(4))
            in_pair = sum(counts[first : first + 2, first : first + 2].sum() for first in (0, 2))
            share = (
                f"accuracy {found['best']['value']:.3f}, right of those put into the right pair {right / in_pair:.3f}"
            )
            print(f"{kind}: {share}, {found['updates']} updates, {time.perf_counter() - start:.0f} s")


def long_video(photos: Path, path: Path, seconds: int, **options: str) -> Path:
    """A window that wanders over one photo after another, 320x240 at 25 frames a second."""
    files = sorted((photos / "train").rglob("*.jpg"))

    def frames() -> Iterator[np.ndarray]:
        for second in range(seconds):
            with Image.open(files[second % len(files)]) as image:
                wide = np.asarray(image.convert("RGB").resize((400, 300), Image.Resampling.BICUBIC))
            for step in range(25):
                yield wide[2 * step : 2 * step + 240, 3 * step : 3 * step + 320]

    encode(path, frames(), preset="veryfast", **options)
    return path


def sequential(path: Path, wanted: np.ndarray, side: int) -> np.ndarray:
    """What a plain loop does: decode from the start, keep the wanted frames, reduce them."""
    kept = set(wanted.tolist())
    with av.open(str(path)) as container:
        found = []
        for number, frame in enumerate(container.decode(video=0)):
            if number in kept:
                pixels = torch.from_numpy(frame.to_ndarray(format="rgb24"))
                found.append(resize(pixels, (side, side * pixels.shape[1] // pixels.shape[0])))
            if number >= wanted.max():
                break
    return torch.stack(found).numpy()


def torchcodec_reader() -> Callable[..., Any] | None:
    """torchcodec's own way to frames by number, approximate seeking as it advises for speed; None without it."""
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError, OSError):
        return None

    def read(path: Path, wanted: np.ndarray, side: int) -> Any:
        decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="approximate", dimension_order="NHWC")
        frames = decoder.get_frames_at(wanted.tolist()).data
        return torch.stack([resize(frame, (side, side * frame.shape[1] // frame.shape[0])) for frame in frames])

    return read


def decoding(photos: Path) -> None:
    """Milliseconds of processor time for a clip of 16 frames, short side 128."""
    torch.set_num_threads(1)
    readers: dict[str, Callable[..., Any]] = {
        "plain PyAV, from the start": sequential,
        "hone": lambda path, wanted, side: read_frames(path, wanted, facts, side),
    }
    if (codec := torchcodec_reader()) is not None:
        readers["torchcodec"] = codec
    with tempfile.TemporaryDirectory() as folder:
        for seconds, gop in ((4, "250"), (10, "50"), (60, "50")):
            path = long_video(photos, Path(folder) / f"{seconds}-{gop}.mp4", seconds, g=gop)
            facts = look_at_clip(str(path))
            middle = facts.frames // 2
            for name, wanted in (
                ("16 spread over it", Sampling(16, "uniform").in_evaluation(facts)[0]),
                ("16 in a row from the middle", np.arange(middle, middle + 16)),
            ):
                print(f"{seconds} s, a key frame every {gop}: {name}")
                spent: dict[str, list[float]] = {reader: [] for reader in readers}
                for _ in range(7):
                    for reader, read in readers.items():
                        start = time.process_time()
                        read(path, wanted, 128)
                        spent[reader].append(1e3 * (time.process_time() - start))
                for reader, times in spent.items():
                    usual = statistics.median(times)
                    ratio = statistics.median(spent["plain PyAV, from the start"]) / usual
                    print(f"  {reader:28} {usual:7.1f} ms ({min(times):.1f} to {max(times):.1f})"
                          f" {16e3 / usual:6.0f} frames/s, {ratio:.2f} of plain")  # fmt: skip


def resident() -> float:
    """Memory of this process, MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def many(photos: Path, root: Path, count: int, seconds: int = 2) -> Clips:
    """A few different videos under many names, in two classes."""
    sources = [long_video(photos, root / "sources" / f"{k}.mp4", seconds + k % 3, g="50") for k in range(10)]
    for place in range(count):
        link = root / "data" / ("a", "b")[place % 2] / f"{place:05}.mp4"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(sources[place % 10])
    read: Clips = read_clips(root / "data", val_fraction=0).train  # type: ignore[assignment]
    return read


def memory(photos: Path) -> None:
    """Memory along 1,000 clips, cache on."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        clips = many(photos, Path(folder), 1000, seconds=1)
        preprocessing = ClipPreprocessing(Preprocessing(image_size=112), Sampling(8))
        batches = ClipBatches(clips, preprocessing, batch_size=8, cache="200MB")
        for place, _ in enumerate(islice(batches.batches(0), 125)):
            if place % 25 == 24:
                print(f"after {8 * (place + 1)} clips: {resident():.0f} MB", flush=True)


def loader(photos: Path) -> None:
    """The loader's share of an update of r3d_18, 16 frames of 112 px, clip by clip: processor time of one thread."""
    from torchvision.models.video import r3d_18

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        clips = many(photos, Path(folder), 40, seconds=8)
        preprocessing = ClipPreprocessing(Preprocessing(image_size=112), Sampling(16))
        model = r3d_18(num_classes=2).train().to(memory_format=torch.channels_last_3d)
        optimizer = torch.optim.AdamW(model.parameters())
        for cache in (0, "1GB"):
            batches = ClipBatches(clips, preprocessing, batch_size=1, cache=cache, channels_last=True)
            stream, loading, training = batches.batches(0), [], []
            for _ in range(2):
                start = time.process_time()
                inputs, target = next(stream)
                loading.append(time.process_time() - start)
                start = time.process_time()
                torch.nn.functional.cross_entropy(model(inputs), target).backward()
                optimizer.step()
                optimizer.zero_grad()
                training.append(time.process_time() - start)
            share = sum(loading) / (sum(loading) + sum(training))
            print(f"cache {cache}: loading {1e3 * statistics.median(loading):.0f} ms,"
                  f" training {1e3 * statistics.median(training):.0f} ms a clip: share {share:.1%}")  # fmt: skip


def precision() -> None:
    """r3d_18, forward and backward, fp32 against bf16, contiguous against channels last."""
    from torchvision.models.video import r3d_18

    from hone.precision.memory import PeakMemory

    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    clock = time.perf_counter if device == "cuda" else time.process_time
    count, frames, side, repeats = (16, 16, 112, 6) if device == "cuda" else (1, 2, 32, 2)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        for dtype in (torch.float32, torch.bfloat16):
            model = r3d_18().to(device).train()
            if layout is torch.channels_last_3d:
                model = model.to(memory_format=layout)
            clips = torch.randn(count, 3, frames, side, side, device=device).contiguous(memory_format=layout)
            times, peak = [], PeakMemory(device)
            for _ in range(1 + repeats):
                if device == "cuda":
                    torch.cuda.synchronize()
                start = clock()
                with torch.autocast(device, dtype, enabled=dtype is not torch.float32):
                    loss = model(clips).float().square().mean()
                loss.backward()
                if device == "cuda":
                    torch.cuda.synchronize()
                times.append(1e3 * (clock() - start))
            most = f", peak {(peak.read() or 0) / 1e6:.0f} MB above model and input"
            print(f"{device} {layout} {dtype}: {min(times[1:]):.0f} to {max(times[1:]):.0f} ms"
                  f" a step of {count} x {frames} x {side} px{most}")  # fmt: skip


if __name__ == "__main__":
    verb, *words = sys.argv[1:] or ["help"]
    actions = {"twins": learned, "decoding": decoding, "memory": memory, "loader": loader, "precision": precision}
    if verb in actions:
        actions[verb](*map(Path, words))
    else:
        print(__doc__)
