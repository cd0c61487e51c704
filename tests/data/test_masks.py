"""Images with masks: every layout and format that is read, and everything that is refused, in one line each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hone.data.masks import MaskedImages, MaskExamples, read_masks
from hone.data.masks import facts as facts_of

from .made_masks import mask_data, save_pair, scene


def examples(folder: Path, **options: object) -> MaskExamples:
    found = read_masks(folder, **options).train  # type: ignore[arg-type]
    assert isinstance(found, MaskExamples)
    return found


def target(found: MaskExamples, row: int = 0) -> torch.Tensor:
    return found.coding.target(MaskedImages(found)[row][None, ..., 3:])[0]


# What is read


def test_parts_and_their_pixels(tmp_path: Path) -> None:
    splits = read_masks(mask_data(tmp_path))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (6, 3, 0)
    assert splits.classes == ["background", "class 1", "class 2"] and splits.task == "segment"
    for row in range(6):
        image, mask = scene(row)
        pair = MaskedImages(splits.train)[row].numpy()  # type: ignore[arg-type]
        assert np.array_equal(pair[..., :3], image) and np.array_equal(pair[..., 3], mask)
        assert splits.train.targets[row].tolist() == np.bincount(mask.reshape(-1), minlength=3).tolist()


def test_a_single_folder_is_divided_by_the_seed(tmp_path: Path) -> None:
    for k in range(10):
        save_pair(tmp_path, f"{k}", *scene(k))
    one, same, other = (read_masks(tmp_path, val_fraction=0.3, seed=seed) for seed in (0, 0, 1))
    assert (len(one.train), len(one.val)) == (7, 3)
    assert one.val.paths == same.val.paths != other.val.paths
    assert not set(one.train.paths) & set(one.val.paths)


def test_a_test_part_without_masks_is_not_measured_on(tmp_path: Path) -> None:
    mask_data(tmp_path)
    shutil.copytree(tmp_path / "val" / "images", tmp_path / "test" / "images")
    assert len(read_masks(tmp_path).test) == 0
    shutil.copytree(tmp_path / "val" / "masks", tmp_path / "test" / "masks")
    assert len(read_masks(tmp_path).test) == 3


def palette(mask: np.ndarray) -> Image.Image:
    picture = Image.fromarray(mask, mode="P")
    picture.putpalette([9, 9, 9, 200, 0, 0, 0, 0, 200])
    return picture


FORMATS = {
    "palette.png": lambda mask: palette(mask),
    "rgb.png": lambda mask: Image.fromarray(np.stack([mask] * 3, axis=2)),
    "sixteen.png": lambda mask: Image.fromarray(mask.astype(np.uint16)),
    "float.tiff": lambda mask: Image.fromarray(mask.astype(np.float32)),
    "grey alpha.png": lambda mask: Image.merge("LA", [Image.fromarray(mask), Image.new("L", mask.shape[::-1], 255)]),
    "plain.bmp": Image.fromarray,
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats_of_masks(tmp_path: Path, name: str) -> None:
    image, mask = scene(3)
    save_pair(tmp_path, "a", image, mask)
    (tmp_path / "masks" / "a.png").unlink()
    FORMATS[name](mask).save(tmp_path / "masks" / f"a{Path(name).suffix}")  # type: ignore[operator]
    assert np.array_equal(target(examples(tmp_path)).numpy(), mask)


@pytest.mark.parametrize("mode", ["1", "L"])
def test_two_classes_in_black_and_white(tmp_path: Path, mode: str) -> None:
    image, mask = scene(3)
    save_pair(tmp_path, "a", image, (mask > 0).astype(np.uint8) * 255)
    picture = Image.open(tmp_path / "masks" / "a.png").convert(mode)
    picture.save(tmp_path / "masks" / "a.png")
    splits = read_masks(tmp_path, val_fraction=0)
    assert splits.classes == ["background", "class 1"]
    assert np.array_equal(target(splits.train).numpy(), mask > 0)  # type: ignore[arg-type]
    said = "0 and 255 in the masks are understood as background and class 1"
    assert (said in splits.text()) == (mode == "L")


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16"])
def test_images_in_grey_with_alpha_and_of_16_bits(tmp_path: Path, mode: str) -> None:
    image, mask = scene(3)
    grey = image[..., 0]
    save_pair(tmp_path, "a", grey.astype(np.uint16) * 16 if mode == "I;16" else grey, mask)
    if mode == "RGBA":
        Image.fromarray(grey).convert("RGBA").save(tmp_path / "images" / "a.png")
    found = examples(tmp_path)
    pixels = MaskedImages(found, found.peak)[0][..., :3].numpy()
    # 12 bits in 16: the range is that of the data, not of the file.
    assert found.peak == (4095 if mode == "I;16" else 65535)
    expected = np.round(grey.astype(float) * 16 * 255 / 4095) if mode == "I;16" else grey
    assert np.abs(pixels - expected[..., None]).max() <= 1 and (pixels == pixels[..., :1]).all()


def test_turned_images_and_masks_are_upright(tmp_path: Path) -> None:
    image, mask = scene(3, (30, 50))
    save_pair(tmp_path, "a", image, mask)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(np.rot90(image)).save(tmp_path / "images" / "a.png", exif=exif)
    found = examples(tmp_path)
    pair = MaskedImages(found)[0].numpy()
    assert np.array_equal(pair[..., :3], image) and np.array_equal(pair[..., 3], mask)
    Image.fromarray(np.rot90(mask)).save(tmp_path / "masks" / "a.png", exif=exif)
    assert np.array_equal(target(examples(tmp_path)).numpy(), mask)


def test_any_sizes_in_one_folder(tmp_path: Path) -> None:
    splits = read_masks(mask_data(tmp_path, sizes=((40, 48), (20, 90), (64, 64))))
    assert "48x40 to 64x64 px" in splits.summary() or "90x20 to 64x64 px" in splits.summary()
    assert {MaskedImages(splits.train)[row].shape[:2] for row in range(6)} == {(40, 48), (20, 90), (64, 64)}  # type: ignore[arg-type]


def test_names_of_classes(tmp_path: Path) -> None:
    mask_data(tmp_path)
    (tmp_path / "classes.txt").write_text("nothing\ndisc\nsquare\ncross\n")
    assert read_masks(tmp_path).classes == ["nothing", "disc", "square", "cross"]
    (tmp_path / "classes.json").write_text(json.dumps(["sky", "disc", "square"]))
    assert read_masks(tmp_path).classes == ["sky", "disc", "square"]
    for text, message in (("{", "be a JSON list"), ('["a", "a"]', "no two alike"), ("[]", "a name for each class")):
        (tmp_path / "classes.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_masks(tmp_path)


def test_ignored_pixels(tmp_path: Path) -> None:
    image, mask = scene(3)
    marked = np.where(np.arange(mask.size).reshape(mask.shape) % 7 == 0, 255, mask).astype(np.uint8)
    save_pair(tmp_path, "a", image, marked)
    found = examples(tmp_path, ignore_index=255)
    assert found.classes == ["background", "class 1", "class 2"]
    assert np.array_equal(target(found).numpy(), np.where(marked == 255, -100, mask.astype(int)))
    assert int(found.targets.sum()) == int((marked != 255).sum())


def test_many_classes_take_two_bytes(tmp_path: Path) -> None:
    image, _ = scene(3)
    mask = np.arange(image.shape[0] * image.shape[1]).reshape(image.shape[:2]) % 301
    mask[0, :5] = 1000
    save_pair(tmp_path, "a", image, mask.astype(np.uint16))
    found = examples(tmp_path, ignore_index=1000)
    assert len(found.classes) == 301
    assert np.array_equal(target(found).numpy(), np.where(mask == 1000, -100, mask))


def labelled(folder: Path) -> Path:
    for k in range(4):
        image, mask = scene(k)
        save_pair(folder, f"{k}", image, mask)
        for value, name in ((1, "disc"), (2, "square")):
            (folder / "masks" / name).mkdir(exist_ok=True)
            if (k, value) != (2, 2):
                bits = ((mask == value) * (255 if value == 1 else 1)).astype(np.uint8)
                Image.fromarray(bits).save(folder / "masks" / name / f"{k}.png")
        (folder / "masks" / f"{k}.png").unlink()
    return folder


def test_several_labels_a_pixel(tmp_path: Path) -> None:
    splits = read_masks(labelled(tmp_path), val_fraction=0)
    found = splits.train
    assert isinstance(found, MaskExamples)
    assert found.classes == ["disc", "square"] and found.coding.labels
    assert "1 masks of single labels are not there" in splits.text()
    for row in range(4):
        mask = scene(row)[1]
        expected = np.stack([mask == 1, (mask == 2) & (row != 2)])
        assert np.array_equal(target(found, row).numpy(), expected)
        assert found.targets[row].tolist() == expected.sum((1, 2)).tolist()


def test_labels_come_in_the_order_of_the_run(tmp_path: Path) -> None:
    found = examples(labelled(tmp_path), val_fraction=0, classes=["square", "line", "disc"])
    mask = scene(0)[1]
    assert np.array_equal(target(found).numpy(), np.stack([mask == 2, mask == 9, mask == 1]))
    with pytest.raises(ValueError, match="labels that the run does not know: square; it knows disc"):
        read_masks(tmp_path, classes=["disc"])


def test_images_in_folders_belong_to_masks_in_the_same_folders(tmp_path: Path) -> None:
    for name in ("one", "two"):
        image, mask = scene(1)
        for kind, pixels in (("images", image), ("masks", mask)):
            (tmp_path / kind / name).mkdir(parents=True)
            Image.fromarray(pixels).save(tmp_path / kind / name / "a.png")
    found = examples(tmp_path, val_fraction=0)
    assert len(found) == 2 and not found.coding.labels


# What is refused


def refused(folder: Path, message: str, **options: object) -> str:
    with pytest.raises(ValueError) as caught:
        read_masks(folder, **options)  # type: ignore[arg-type]
    text = str(caught.value)
    assert message in text and "\n" not in text, text
    return text


def test_partners_that_are_missing_are_all_named(tmp_path: Path) -> None:
    mask_data(tmp_path)
    for name in ("train/masks/1.png", "train/masks/4.png", "val/images/2.png"):
        (tmp_path / name).unlink()
    text = refused(tmp_path, "every image needs a mask of the same name, and every mask an image")
    assert "images without mask: " in text and "masks without image: " in text
    for name in ("train/images/1.png", "train/images/4.png", "val/masks/2.png"):
        assert str(tmp_path / name) in text


def test_sizes_that_differ(tmp_path: Path) -> None:
    save_pair(tmp_path, "a", scene(1, (40, 48))[0], scene(1, (48, 40))[1])
    refused(tmp_path, f"{tmp_path}/masks/a.png (40x48; its image: 48x40)")


def test_values_beyond_the_classes(tmp_path: Path) -> None:
    mask_data(tmp_path)
    image, mask = scene(1)
    mask[0, :2] = (7, 9)
    save_pair(tmp_path / "train", "odd", image, mask)
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    refused(tmp_path, f"be 0 to 2 for the 3 classes, got {tmp_path}/train/masks/odd.png (7, 9)")
    (tmp_path / "classes.txt").unlink()
    refused(tmp_path, "got 0, 1, 2, 7, 9: " + f"{tmp_path}/train/masks/odd.png (7, 9); write their names")
    mask[0, :2] = 255
    save_pair(tmp_path / "train", "odd", image, mask)
    refused(tmp_path, "--ignore-index 255 leaves those pixels out")
    assert len(read_masks(tmp_path, ignore_index=255).classes) == 3
    refused(tmp_path, "be 0 to 1 for the 2 classes", classes=["background", "disc"], ignore_index=255)


def test_other_names_than_the_run(tmp_path: Path) -> None:
    mask_data(tmp_path)
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    refused(tmp_path, "DATA names other classes than the run: a, b, c; it knows x, y, z", classes=["x", "y", "z"])


def test_colours_and_fractions_are_no_classes(tmp_path: Path) -> None:
    image, mask = scene(1)
    save_pair(tmp_path, "a", image, image)
    refused(tmp_path, f"mask {tmp_path}/masks/a.png must hold class indices or a palette, got colours (RGB)")
    (tmp_path / "masks" / "a.png").unlink()
    Image.fromarray(mask.astype(np.float32) + 0.5).save(tmp_path / "masks" / "a.tiff")
    refused(tmp_path, "must hold whole numbers, got 0.5, 1.5, 2.5")


def test_nothing_but_background(tmp_path: Path) -> None:
    save_pair(tmp_path, "a", scene(1)[0], np.zeros((40, 48), np.uint8))
    refused(tmp_path, "masks must show at least one class beside the background (0), got 0 everywhere")


def test_labels_that_are_not_yes_or_no(tmp_path: Path) -> None:
    Image.fromarray(scene(0)[1] * 3).save(labelled(tmp_path) / "masks" / "disc" / "0.png")
    refused(tmp_path, f"be 0 and 1, or 0 and 255, for each label, got {tmp_path}/masks/disc/0.png (3, 6)")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "hold the folder images/"),
        (lambda folder: (folder / "images").mkdir(), "hold the folder masks/"),
        (lambda folder: [(folder / name).mkdir() for name in ("images", "masks")], "hold images in images/ and masks"),
    ],
)
def test_folders_that_are_not_there(tmp_path: Path, make: object, message: str) -> None:
    make(tmp_path)  # type: ignore[operator]
    refused(tmp_path, message)
    refused(tmp_path / "nowhere", "be a folder of images/ and masks/")


def test_two_files_of_one_name(tmp_path: Path) -> None:
    mask_data(tmp_path)
    Image.fromarray(scene(0)[0]).save(tmp_path / "train" / "images" / "0.jpg")
    refused(tmp_path, "hold one file named 0, got '0.jpg and 0.png'")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    mask_data(tmp_path)
    broken = tmp_path / "train" / "masks" / "2.png"
    broken.write_bytes(broken.read_bytes()[:60])
    refused(tmp_path, f"{broken} can't be read as an image")
    splits = read_masks(tmp_path, skip_unreadable=True)
    assert len(splits.train) == 5 and len(splits.skipped) == 1 and str(broken) in splits.text()


# One look, remembered


def test_masks_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask_data(tmp_path / "data")
    looked: list[str] = []
    plain = facts_of.read_mask
    monkeypatch.setattr(facts_of, "read_mask", lambda path: (looked.append(str(path)), plain(path))[1])
    first = read_masks(tmp_path / "data")
    assert len(looked) == 9
    again = read_masks(tmp_path / "data")
    assert len(looked) == 9 and torch.equal(first.train.targets, again.train.targets)
    image, mask = scene(77)
    save_pair(tmp_path / "data" / "train", "3", image, mask)
    changed = read_masks(tmp_path / "data")
    assert looked[9:] == [str(tmp_path / "data" / "train" / "masks" / "3.png")]
    assert changed.train.targets[3].tolist() == np.bincount(mask.reshape(-1), minlength=3).tolist()
