"""``hone demo``, and the built wheel outside the checkout (slow: HONE_SLOW=1)."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import torch

from hone import cli
from hone.commands.demo import ARMS, network, split_digits, target_network

CHECKOUT = Path(__file__).resolve().parents[2]


def test_the_four_steps() -> None:
    """Everything but the output layer is the source's; from scratch nothing is."""
    source = network(5, 0)
    tuned, scratch = (
        target_network("fine-tuned", source, 0).state_dict(),
        target_network("from scratch", source, 0).state_dict(),
    )
    same = {name for name, value in source.state_dict().items() if torch.equal(tuned[name], value)}
    assert set(tuned) - same == {"6.weight", "6.bias"}
    assert not any(torch.equal(scratch[name], source.state_dict()[name]) for name in tuned if name.endswith("0.weight"))


def test_the_task_is_ten_labelled_images_a_class() -> None:
    source, target = split_digits(0)
    assert target.train[1].bincount().tolist() == [10] * 5 and source.train[1].unique().tolist() == list(range(5))
    shown = {tuple(image.flatten().tolist()) for image in target.train[0]}
    assert len(target.test[1]) > 800 and len(shown) > 45
    assert not torch.equal(split_digits(1)[1].train[0], target.train[0])


def test_one_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With a few updates fine-tuning beats the same network from scratch by far, and a page shows it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hone.commands.demo.BUDGETS", (8,))
    monkeypatch.setattr("hone.commands.demo.BUDGET", 8)
    assert cli.main(["demo", "--seeds", "1"]) == 0
    said = capsys.readouterr().out
    means = {arm: float(said.split(f"{arm} ")[1].split("±")[0]) for arm in ARMS}
    assert means["fine-tuned"] > means["from scratch"] + 0.1 and "honestly" in said
    page = (tmp_path / "runs" / "demo" / "report.html").read_text()
    assert "<svg" in page and 'src="http' not in page


@pytest.mark.skipif(not os.environ.get("HONE_SLOW"), reason="slow: builds a wheel; set HONE_SLOW=1")
def test_the_wheel_passes_the_demo_outside_the_checkout(tmp_path: Path) -> None:
    """Built from a clone, laid out in its own folder, and run there with the libraries but without the checkout."""
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", str(CHECKOUT), str(source)], check=True)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(source),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "hone/py.typed" in names and not [name for name in names if name.startswith(("tests", "benchmarks"))]
    # The libraries' folder on the path by name reads no .pth file, so the editable checkout stays out of sight.
    paths = os.pathsep.join([str(tmp_path / "site"), sysconfig.get_path("purelib")])
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": paths}
    code = (
        "import hone; print(hone.__file__); from hone.cli import main; raise SystemExit(main(['demo', '--seeds', '1']))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith(str(tmp_path / "site")) and (tmp_path / "runs" / "demo" / "report.html").is_file()
