"""Layouts on disk: what is found, how it is divided, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hone.data import read_examples, sample_images

from .conftest import photo

Make = Callable[..., Path]


def test_the_real_flowers(shared_data: Path) -> None:
    splits = read_examples(shared_data / "flowers5")
    assert splits.summary() == "400 train, 200 val photos, 5 classes (80 to 80 each)"
    assert splits.task == "classify" and splits.classes == sorted(splits.classes)
    assert all(Path(path).parent.name == splits.train.label(row) for row, path in enumerate(splits.train.paths))


def test_classes_alone_are_divided_class_by_class(class_folders: Make) -> None:
    splits = read_examples(class_folders(ant=10, bee=20, cat=5), val_fraction=0.2)
    assert splits.train.counts().tolist() == [8, 16, 4]
    assert splits.val.counts().tolist() == [2, 4, 1]
    assert not set(splits.train.paths) & set(splits.val.paths) and len(splits.test) == 0


def test_the_division_is_seeded(class_folders: Make) -> None:
    root = class_folders(ant=20, bee=20)
    chosen = [tuple(read_examples(root, seed=seed).val.paths) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_every_class_keeps_a_photo_on_either_side(class_folders: Make) -> None:
    splits = read_examples(class_folders(ant=2, bee=1, cat=9), val_fraction=0.9)
    assert splits.train.counts().tolist() == [1, 1, 1]
    assert splits.val.counts().tolist() == [1, 0, 8]
    assert "val has no photos of bee" in splits.text()


def test_train_val_test_folders(class_folders: Make) -> None:
    root = class_folders("d/train", ant=3, bee=2).parent
    class_folders("d/valid", ant=1, bee=1)
    class_folders("d/test", bee=4)
    splits = read_examples(root)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [5, 2, 4]
    assert splits.summary() == "5 train, 2 val, 4 test photos, 2 classes (2 to 3 each)"
    assert splits.test.targets.tolist() == [1, 1, 1, 1]


def test_train_without_val_is_divided(class_folders: Make) -> None:
    splits = read_examples(class_folders("d/train", ant=5, bee=5).parent)
    assert (len(splits.train), len(splits.val)) == (8, 2)


def test_nested_hidden_and_other_files(class_folders: Make) -> None:
    root = class_folders(ant=4, bee=4)
    (root / "ant" / "deep").mkdir()
    photo(1).save(root / "ant" / "deep" / "x.PNG")
    (root / "ant" / "Thumbs.db").write_text("x")
    (root / "ant" / ".hidden.jpg").write_text("x")
    (root / ".git").mkdir()
    (root / "readme.txt").write_text("x")
    splits = read_examples(root, val_fraction=0)
    assert splits.train.counts().tolist() == [5, 4] and splits.ignored == 2
    assert "2 files that are no images were passed over" in splits.text()


@pytest.fixture
def damaged(class_folders: Make) -> Path:
    root = class_folders(ant=5, bee=5)
    whole = (root / "ant" / "001.jpg").read_bytes()
    (root / "ant" / "001.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "bee" / "003.jpg").write_text("a text file\n")
    return root


def test_files_that_cannot_be_read_are_named(damaged: Path) -> None:
    with pytest.raises(ValueError, match=r"ant/001\.jpg can't be read as an image: .*truncated.*, and 1 more files"):
        read_examples(damaged)


def test_files_that_cannot_be_read_are_left_out_and_counted(damaged: Path) -> None:
    splits = read_examples(damaged, skip_unreadable=True)
    assert splits.summary().endswith(", 2 unreadable left out")
    assert [line.partition(":")[0].rpartition("/")[2] for line in splits.skipped] == ["001.jpg", "003.jpg"]
    assert len(splits.train) + len(splits.val) == 8
    assert "left out: " in splits.text()


def refuse(root: Path, message: str, **options: object) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_examples(root, **options)
    assert "\n" not in str(caught.value)


def test_refusals(class_folders: Make, tmp_path: Path) -> None:
    refuse(tmp_path / "absent", "DATA must be a folder or a CSV file that exists")
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "DATA must hold images in class folders")
    refuse(class_folders("one", ant=3), "at least 2 classes, got 'ant only'")
    root = class_folders("hole", ant=3, bee=3)
    (root / "cat").mkdir()
    refuse(root, "class folder must hold at least one image, got '.*cat'")
    refuse(
        class_folders("fine", ant=3, bee=3), "DATA must be a CSV file of path,label for task regress", task="regress"
    )
    refuse(class_folders("fraction", ant=3, bee=3), "val_fraction", val_fraction=1.0)
    refuse(class_folders("task", ant=3, bee=3), "did you mean classify", task="clasify")


def test_a_class_in_val_that_train_lacks(class_folders: Make) -> None:
    root = class_folders("d/train", ant=3, bee=3).parent
    class_folders("d/val", ant=1, wasp=1)
    refuse(root, "classes of val must be among those of train, got 'wasp'")


def test_two_val_folders(class_folders: Make) -> None:
    root = class_folders("d/train", ant=3, bee=3).parent
    class_folders("d/val", ant=1)
    class_folders("d/validation", ant=1)
    refuse(root, "DATA must hold one val folder")


def test_a_class_whose_photos_are_all_unreadable(class_folders: Make) -> None:
    root = class_folders(ant=3, bee=1, cat=3)
    (root / "bee" / "000.jpg").write_text("x")
    refuse(root, "train must show every class, got 'none of bee'", skip_unreadable=True)


def test_sample_images(class_folders: Make) -> None:
    splits = read_examples(class_folders(ant=4, bee=4), val_fraction=0)
    pictures = sample_images(splits.train, 3, short_side=20)
    assert [label for _, label in pictures] == ["ant", "bee", "ant"]
    assert all(image.dtype == torch.uint8 and min(image.shape[:2]) == 20 for image, _ in pictures)
