"""Layouts of volumes: what belongs together, what is divided, what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from hone.data.volumes import VolumeExamples, read_volumes
from hone.data.volumes.layouts import find_volumes

from .made_volumes import ball, pair, save, split_folders

NNUNET = {"channel_names": {"0": "T2", "1": "CT"}, "labels": {"background": 0, "ball": 1}, "file_ending": ".nii.gz"}
DECATHLON = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "ball"}, "numTraining": 5}


def train_of(root: Path, **options: object) -> VolumeExamples:
    part = read_volumes(root, **options).train  # type: ignore[arg-type]
    assert isinstance(part, VolumeExamples)
    return part


def test_split_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    splits = read_volumes(split_folders(tmp_path, 4, 2))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [4, 2, 0]
    assert splits.classes == ["background", "1"] and splits.train.counts().tolist() == [4, 4]
    assert "4 train, 2 val volumes, 1; 1 channel, about 18x16x14 voxels of 1 x 1 x 1 mm" in splits.text()


def test_images_and_labels_alone_are_divided_by_the_seed(tmp_path: Path) -> None:
    for k in range(10):
        pair(tmp_path, f"c{k}", k)
    (tmp_path / "images" / "notes.txt").touch()
    first, again, other = (read_volumes(tmp_path, seed=seed, val_fraction=0.3) for seed in (0, 0, 1))
    assert len(first.train) == 7 and len(first.val) == 3 and first.ignored == 1
    assert first.val.paths == again.val.paths != other.val.paths
    assert not set(first.train.paths) & set(first.val.paths)


def test_decathlon(tmp_path: Path) -> None:
    for k in range(5):
        pair(tmp_path, f"ball_{k:03}", k, folders="imagesTr labelsTr")
    shutil.copytree(tmp_path / "imagesTr", tmp_path / "imagesTs")
    (tmp_path / "imagesTr" / "._ball_000.nii.gz").write_bytes(b"what macOS leaves")
    (tmp_path / "dataset.json").write_text(json.dumps(DECATHLON))
    splits = read_volumes(tmp_path)
    assert splits.classes == ["background", "ball"] and len(splits.train) == 4 and len(splits.val) == 1
    assert not len(splits.test) and train_of(tmp_path).modalities == ("MRI",)


def test_nnunet_modalities_are_channels(tmp_path: Path) -> None:
    for k in range(3):
        image, label = ball((12, 12, 12), k)
        for part in ("Tr", "Ts"):
            save(tmp_path / f"images{part}" / f"b_{k}_0000.nii.gz", image)
            save(tmp_path / f"images{part}" / f"b_{k}_0001.nii.gz", image - 700)
            save(tmp_path / f"labels{part}" / f"b_{k}.nii.gz", label)
    (tmp_path / "dataset.json").write_text(json.dumps(NNUNET))
    splits, train = read_volumes(tmp_path), train_of(tmp_path)
    assert train.channels == 2 and train.modalities == ("T2", "CT") and len(splits.test) == 3
    assert [Path(path).name for path in train.cases[0].images] == [
        f"{Path(train.paths[0]).name[:3]}_000{m}.nii.gz" for m in (0, 1)
    ]
    (case, *_) = find_volumes([tmp_path / "imagesTs"])
    assert len(case.images) == 2 and case.label is None


def test_modalities_in_four_dimensions(tmp_path: Path) -> None:
    for k in range(3):
        image, label = ball((12, 12, 12), k)
        save(tmp_path / "images" / f"{k}.nii.gz", np.stack([image, -image, image + 1], axis=-1))
        save(tmp_path / "labels" / f"{k}.nii.gz", label)
    train = train_of(tmp_path)
    assert train.channels == 3
    assert [c.mean for c in train.facts[0].images[0].channels][1] == -train.facts[0].images[0].channels[0].mean


def test_the_ignored_value_of_a_dataset_json(tmp_path: Path) -> None:
    for k in range(3):
        image, label = ball((12, 12, 12), k)
        label[0] = 2
        save(tmp_path / "imagesTr" / f"b{k}_0000.nii.gz", image)
        save(tmp_path / "labelsTr" / f"b{k}.nii.gz", label)
    content = {**NNUNET, "channel_names": {"0": "T2"}, "labels": {"background": 0, "ball": 1, "ignore": 2}}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    train = train_of(tmp_path)
    assert train.ignore == 2 and train.classes == ["background", "ball"]


def test_volumes_in_class_folders(tmp_path: Path) -> None:
    for k in range(8):
        save(tmp_path / ("big" if k % 2 else "small") / f"{k}.nii", ball((10, 10, 10), k, 2 + k % 2)[0])
    splits = read_volumes(tmp_path, task="classify-volume", val_fraction=0.25)
    assert splits.classes == ["big", "small"] and splits.train.counts().tolist() == [3, 3]
    assert splits.val.counts().tolist() == [1, 1]


def test_what_has_no_partner_is_named_whichever_side_it_is_on(tmp_path: Path) -> None:
    for k in range(3):
        pair(tmp_path, f"c{k}", k)
    (tmp_path / "labels" / "c1.nii.gz").unlink()
    (tmp_path / "images" / "c2.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"no label for .*c1\.nii\.gz; no image for .*c2\.nii\.gz") as error:
        read_volumes(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"background": 0, "ball": 2}, "count from 0 without gaps"),
        ({"background": 0, "ball": [1, 2]}, "regions"),
        ([1, 2], "can't be read as a dataset.json"),
    ],
)
def test_a_dataset_json_that_cannot_be_followed(tmp_path: Path, labels: object, message: str) -> None:
    pair(tmp_path, "a", 0, folders="imagesTr labelsTr")
    (tmp_path / "dataset.json").write_text(json.dumps({**NNUNET, "labels": labels}))
    with pytest.raises(ValueError, match=re.escape(message)):
        read_volumes(tmp_path)


def test_folders_without_volumes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="that exists"):
        read_volumes(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="hold volumes"):
        read_volumes(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match=r"at least one volume, got .*cat"):
        read_volumes(tmp_path, task="classify-volume")
