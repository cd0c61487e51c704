"""One pass over the voxels finds all that is wrong, says it in one line that names files, and is remembered."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from hone.data.volumes import open_nifti, read_volumes
from hone.data.volumes import scan as scanning
from hone.data.volumes.facts import image_facts, label_facts

from .made_volumes import ball, oblique, pair, save, split_folders


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return split_folders(tmp_path / "data")


def image(data: Path, name: str = "case1") -> Path:
    return data / "train" / "images" / f"{name}.nii.gz"


def label(data: Path, name: str = "case1") -> Path:
    return data / "train" / "labels" / f"{name}.nii.gz"


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj).copy()


def nan_voxels(data: Path) -> None:
    values = voxels(image(data))
    values[3, 4, 5:7] = np.nan, np.inf
    save(image(data), values)


def other_size(data: Path) -> None:
    save(label(data), voxels(label(data))[:-1])


def strange_values(data: Path) -> None:
    values = voxels(data / "val" / "labels" / "case4.nii.gz")
    values[0, 0, :2] = 3, 7
    save(data / "val" / "labels" / "case4.nii.gz", values)


def a_gap(data: Path) -> None:
    save(label(data), voxels(label(data)) * 255)


def not_whole(data: Path) -> None:
    save(label(data), voxels(label(data)).astype(np.float32) * 0.5)


def two_dimensional(data: Path) -> None:
    save(image(data), np.zeros((18, 16), dtype=np.float32))


def one_slice(data: Path) -> None:
    save(image(data), np.zeros((18, 16, 1), dtype=np.float32))


def more_channels(data: Path) -> None:
    save(image(data), np.stack([voxels(image(data))] * 2, axis=-1))


def channels_in_the_label(data: Path) -> None:
    save(label(data), np.stack([voxels(label(data))] * 2, axis=-1))


def no_affine(data: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(voxels(image(data)), None), image(data))


def flat_affine(data: Path) -> None:
    made = nibabel.Nifti1Image(voxels(image(data)), None)
    made.set_sform(np.diag([0, 1, 1, 1]), code=1)
    nibabel.save(made, image(data))


def elsewhere(data: Path) -> None:
    moved = np.eye(4)
    moved[0, 3] = 5
    save(label(data), voxels(label(data)), moved)


def cut_off(data: Path) -> None:
    content = image(data).read_bytes()
    image(data).write_bytes(content[: len(content) // 2])


def no_nifti(data: Path) -> None:
    image(data).write_bytes(b"not a volume")


#: What is done to the data, and what the one line must say.
WRONG: dict[Callable[[Path], None], str] = {
    nan_voxels: r"volumes must hold finite numbers only, got .*case1\.nii\.gz \(2 NaN or infinite\)",
    other_size: r"labels must have the size of their image, got .*case1\.nii\.gz \(18x16x14; its image: 19x16x14\)",
    strange_values: r"labels must be 0 to 1 for the 2 classes, got .*val/labels/case4\.nii\.gz \(3, 7\)",
    a_gap: r"labels of train must count from 0 without gaps, got '0, 1, 255'; 255 is in .*case1\.nii\.gz; .*--ignore",
    not_whole: r"labels must be whole numbers, got .*case1\.nii\.gz \(0\.5\)",
    two_dimensional: r"case1\.nii\.gz must be a volume .*got \(18, 16\); it is 2D",
    one_slice: r"case1\.nii\.gz must be a volume .*got \(18, 16, 1\); it is 2D",
    more_channels: r"the same number of channels, got '1 in .*case0\.nii\.gz, 2 in .*case1\.nii\.gz'",
    channels_in_the_label: r"labels/case1\.nii\.gz must be a label map of one channel, got 2",
    no_affine: r"case1\.nii\.gz: the affine is missing",
    flat_affine: r"case1\.nii\.gz: the affine must be finite and invertible",
    elsewhere: r"labels must lie where their image lies .*labels/case1\.nii\.gz",
    cut_off: r"case1\.nii\.gz can't be read as NIfTI",
    no_nifti: r"case1\.nii\.gz can't be read as NIfTI",
}


@pytest.mark.parametrize(("spoil", "message"), WRONG.items(), ids=[spoil.__name__ for spoil in WRONG])
def test_bad_input(data: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(data)
    with pytest.raises(ValueError, match=message) as error:
        read_volumes(data)
    assert "\n" not in str(error.value)


def test_modalities_of_one_case_must_fit_one_another(tmp_path: Path) -> None:
    for k in range(2):
        made, truth = ball((12, 12, 12), k)
        save(tmp_path / "images" / f"c{k}_0000.nii.gz", made)
        save(tmp_path / "images" / f"c{k}_0001.nii.gz", made[:, :, : 12 - k])
        save(tmp_path / "labels" / f"c{k}.nii.gz", truth)
    with pytest.raises(ValueError, match=r"one size and place .*c1_0001\.nii\.gz \(12x12x11; .*c1_0000.*: 12x12x12\)"):
        read_volumes(tmp_path)


def test_what_cannot_be_read_is_left_out_where_that_is_asked_for(data: Path) -> None:
    cut_off(data)
    splits = read_volumes(data, skip_unreadable=True)
    assert len(splits.train) == 3 and "case1" in splits.skipped[0] and "1 unreadable left out" in splits.text()


def test_an_ignored_value_fills_no_gap(data: Path) -> None:
    a_gap(data)
    assert read_volumes(data, ignore_index=255).classes == ["background", "1"]


def test_facts_are_numpys(tmp_path: Path) -> None:
    made, truth = ball((21, 17, 15), 5)
    made = made + 4000
    made[made < 3999.5] = 0
    facts = image_facts(open_nifti(save(tmp_path / "i.nii.gz", made))).channels[0]
    inside = made[made != 0].astype(np.float64)
    expected = (made.mean(dtype=np.float64), made.std(dtype=np.float64), inside.mean(), inside.std())
    assert (facts.mean, facts.std, facts.other_mean, facts.other_std) == pytest.approx(expected, rel=1e-6)
    assert (facts.low, facts.high, facts.voxels) == (made.min(), made.max(), made.size)
    assert facts.zeros == pytest.approx((made == 0).mean())

    seen = label_facts(open_nifti(save(tmp_path / "l.nii.gz", truth)), (open_nifti(tmp_path / "i.nii.gz"),))
    assert seen.counts == {0.0: int((truth == 0).sum()), 1.0: int(truth.sum())}
    values = np.sort(made[truth > 0])
    assert len(seen.samples[0]) == min(200, len(values))
    assert np.median(seen.samples[0]) == pytest.approx(np.median(values), abs=0.05)


def test_slabs_do_not_change_the_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(tmp_path / "i.nii.gz", ball((21, 17, 15), 5)[0], oblique())
    whole = image_facts(open_nifti(file))
    monkeypatch.setattr("hone.data.volumes.nifti._SLAB_BYTES", 4 * 21 * 17 * 4)
    parts = image_facts(open_nifti(file))
    assert parts.channels[0].mean == pytest.approx(whole.channels[0].mean, abs=1e-7)
    assert parts.channels[0].std == pytest.approx(whole.channels[0].std, abs=1e-7)
    assert parts.shape == whole.shape == (15, 21, 17)


def test_what_was_seen_is_remembered_until_a_file_changes(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    look = scanning.look_at
    monkeypatch.setattr(scanning, "look_at", lambda case: (looked.append(case.images[0]), look(case))[1])
    first = read_volumes(data)
    assert len(looked) == 6
    again = read_volumes(data)
    assert len(looked) == 6 and again.train.facts == first.train.facts  # type: ignore[attr-defined]
    os.utime(label(data), ns=(1, 1))
    pair(data / "train", "new", 9)
    read_volumes(data)
    assert [Path(path).name for path in looked[6:]] == ["case1.nii.gz", "new.nii.gz"]
