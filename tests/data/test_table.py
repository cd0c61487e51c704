"""CSV files: one label, several labels, numbers, splits, and everything that can be wrong in a row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hone.data import Splits, read_examples

from .conftest import photo

Read = Callable[..., Splits]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Writes a CSV beside eight photos a.jpg .. h.jpg and reads it."""
    for place, name in enumerate("abcdefgh"):
        photo(place).save(tmp_path / f"{name}.jpg")

    def write_and_read(text: str, name: str = "labels.csv", **options: object) -> Splits:
        (tmp_path / name).write_text(text)
        return read_examples(tmp_path / name, **({"val_fraction": 0.0} | options))

    return write_and_read


def test_one_label_a_row(read: Read, tmp_path: Path) -> None:
    splits = read("path,label\na.jpg,dog\nb.jpg,cat\nc.jpg,cat\n")
    assert (splits.task, splits.classes) == ("classify", ["cat", "dog"])
    assert splits.train.targets.tolist() == [1, 0, 0] and splits.train.targets.dtype == torch.int64
    assert splits.train.paths[0] == str(tmp_path / "a.jpg")


def test_without_a_header_and_with_absolute_paths(read: Read, tmp_path: Path) -> None:
    assert read(f"{tmp_path}/a.jpg,x\nb.jpg,y\n").train.targets.tolist() == [0, 1]


@pytest.mark.parametrize("separator", ["\t", ";"])
def test_other_delimiters(read: Read, separator: str) -> None:
    rows = [["file", "class"], ["a.jpg", "x"], ["b.jpg", "y"]]
    assert read("\n".join(separator.join(row) for row in rows)).classes == ["x", "y"]


def test_a_byte_order_mark_quotes_and_blank_lines(read: Read) -> None:
    splits = read('\ufeffpath,label\n\n"a.jpg","golden, old"\n b.jpg , y \n\n')
    assert splits.classes == ["golden, old", "y"]


def test_numbers_as_classes_are_sorted_by_value(read: Read) -> None:
    splits = read("path,label\na.jpg,10\nb.jpg,9\nc.jpg,2\n")
    assert splits.classes == ["2", "9", "10"] and splits.train.targets.tolist() == [2, 1, 0]


MULTI = {
    "semicolon": ("path,label\na.jpg,cat;dog\nb.jpg,cat\nc.jpg,eel\n", "auto"),
    "bar": ("path,label\na.jpg,cat|dog\nb.jpg,cat\nc.jpg,eel\n", "auto"),
    "spaces": ("path,label\na.jpg,cat dog\nb.jpg,cat\nc.jpg,eel\n", "multilabel"),
    "columns": ("path,label1,label2\na.jpg,cat,dog\nb.jpg,cat,\nc.jpg,eel,\n", "auto"),
    "ragged": ("a.jpg,cat,dog\nb.jpg,cat\nc.jpg,eel\n", "auto"),
    "bits": ("path,cat,dog,eel\na.jpg,1,1,0\nb.jpg,1,0,0\nc.jpg,0,0,1\n", "auto"),
}


@pytest.mark.parametrize("form", MULTI)
def test_several_labels_a_row(read: Read, form: str) -> None:
    text, task = MULTI[form]
    splits = read(text, task=task)
    assert (splits.task, splits.classes) == ("multilabel", ["cat", "dog", "eel"])
    assert splits.train.targets.tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert splits.train.targets.dtype == torch.float32
    assert splits.summary() == "3 train, 0 val photos, 3 labels (1 to 2 each, 1.3 a photo)"


def test_a_photo_may_show_none_of_the_labels(read: Read) -> None:
    assert read("path,label\na.jpg,cat;dog\nb.jpg,\n", task="multilabel").train.targets.tolist() == [[1, 1], [0, 0]]


def test_regression(read: Read) -> None:
    splits = read("path,age\na.jpg,1.5\nb.jpg,-2e1\nc.jpg,7\n", task="regress")
    assert splits.task == "regress" and splits.classes == []
    assert splits.train.targets.tolist() == [1.5, -20, 7] and splits.train.targets.dtype == torch.float32
    assert splits.summary() == "3 train, 0 val photos, values -20 to 7 (mean -3.833)"


def test_regression_of_several_values(read: Read) -> None:
    assert read("path,x,y\na.jpg,1,2\nb.jpg,3,4\n", task="regress").train.targets.tolist() == [[1, 2], [3, 4]]


def test_the_split_column(read: Read) -> None:
    text = "path,split,label\na.jpg,train,x\nb.jpg,train,y\nc.jpg,val,x\nd.jpg,Test,y\n"
    splits = read(text)
    assert [Path(part.paths[0]).stem for part in (splits.train, splits.val, splits.test)] == ["a", "c", "d"]


def test_a_split_column_without_val_is_divided(read: Read) -> None:
    rows = "".join(f"{name}.jpg,train,{'xy'[k % 2]}\n" for k, name in enumerate("abcdef")) + "g.jpg,test,x\n"
    splits = read("path,split,label\n" + rows, val_fraction=0.34)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [4, 2, 1]


def test_columns_that_are_not_used_are_named(read: Read) -> None:
    splits = read("path,label,camera,hour\na.jpg,x,leica,3\nb.jpg,y,leica,4\n")
    assert splits.classes == ["x", "y"] and "columns camera, hour of labels.csv are not used" in splits.text()


REFUSED = {
    "header only": ("path,label\n", "auto", "hold at least one row"),
    "empty": ("", "auto", "got 'an empty file'"),
    "no label column": ("path\na.jpg\n", "auto", "header must name a path and a label column"),
    "no label": ("path,label\na.jpg,x\nb.jpg,\n", "auto", "line 3 has no label"),
    "no path": ("path,label\na.jpg,x\n,y\n", "auto", "line 3 has no path"),
    "several where one is needed": ("path,label\na.jpg,x;y\n", "classify", r"line 2 has 2 labels \(x, y\)"),
    "no number": ("path,label\na.jpg,1\nb.jpg,tall\n", "regress", "line 3: 'tall' is no number"),
    "nan": ("path,label\na.jpg,1\nb.jpg,nan\n", "regress", "line 3: 'nan' is no number"),
    "numbers of unknown meaning": ("path,label\na.jpg,1.5\nb.jpg,2.5\n", "auto", "say --task regress"),
    "spaces of unknown meaning": (
        "path,label\na.jpg,x y\nb.jpg,x z\nc.jpg,y\nd.jpg,z\ne.jpg,x\n",
        "auto",
        "say --task multilabel",
    ),
    "twice": ("path,label\na.jpg,x\na.jpg,y\n", "auto", r"line 3 repeats a.jpg of line 2"),
    "unknown split": ("path,label,split\na.jpg,x,foo\n", "auto", "line 2: split must be train, val or test, got 'foo'"),
    "one class": ("path,label\na.jpg,x\nb.jpg,x\n", "auto", "at least 2 classes, got 'x only'"),
    "absent file": ("path,label\na.jpg,x\nz.jpg,y\n", "auto", "z.jpg can't be read as an image: there is no such file"),
    "val alone": (
        "path,label,split\na.jpg,x,train\nb.jpg,y,train\nc.jpg,z,val\n",
        "auto",
        "classes of val must be among those of train, got 'z'",
    ),
    "val alone, several": (
        "path,label,split\na.jpg,x;y,train\nc.jpg,z,val\n",
        "auto",
        "classes of val must be among those of train, got 'z'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(read: Read, case: str) -> None:
    text, task, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        read(text, task=task)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    photo(0).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="DATA must be a folder or a CSV file in UTF-8"):
        read_examples(tmp_path / "a.png")


def test_breed_names_with_spaces_are_one_name_each(read: Read) -> None:
    assert read("path,label\na.jpg,golden retriever\nb.jpg,poodle\n").classes == ["golden retriever", "poodle"]
