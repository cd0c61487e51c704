"""Space: orientation, spacing, and the way back into the input's own voxels, against nibabel and torch."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hone.data.volumes import Case, open_nifti, resample_slabs, write_nifti
from hone.data.volumes.layouts import find_volumes
from hone.data.volumes.preparing import fill_image, prepared_shape, read_label, scratch
from hone.data.volumes.preprocessing import ChannelNormalization, VolumePreprocessing
from hone.data.volumes.resampling import nearest
from hone.data.volumes.scan import look_at

from .made_volumes import ball, oblique, save

#: Values as they are: nothing but space changes.
AS_IT_IS = (ChannelNormalization("raw", "ct", low=-1e4, high=1e4),)


def prepared(case: Case, preprocessing: VolumePreprocessing) -> tuple[np.ndarray, np.ndarray | None]:
    facts = look_at(case)
    shape = prepared_shape(facts, preprocessing)
    image = np.empty((len(preprocessing.channels), *shape), dtype=np.float32)
    fill_image(case, facts, preprocessing, image)
    return image, read_label(case, facts, shape)


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1.0, -1, 1, 1]), oblique()], ids=["ras", "lps", "oblique"])
def test_orientation_is_nibabels(tmp_path: Path, affine: np.ndarray) -> None:
    image, label = ball((11, 13, 9), 1)
    case = Case((str(save(tmp_path / "i.nii.gz", image, affine)),), str(save(tmp_path / "l.nii.gz", label, affine)))
    closest = nibabel.as_closest_canonical(nibabel.load(case.images[0]))
    opened = open_nifti(case.images[0])
    assert opened.ras_shape == closest.shape
    assert opened.ras_affine == pytest.approx(closest.affine)
    assert opened.spacing == pytest.approx(nibabel.affines.voxel_sizes(closest.affine))
    found, truth = prepared(case, VolumePreprocessing((8, 8, 8), None, AS_IT_IS))
    assert np.array_equal(found[0], np.asarray(closest.dataobj))
    assert np.array_equal(truth, np.asarray(nibabel.as_closest_canonical(nibabel.load(case.label)).dataobj))


def test_spacing_is_interpolated_over_the_same_space(tmp_path: Path) -> None:
    image, label = ball((12, 14, 10), 2)
    affine = oblique((1.0, 0.8, 2.5))
    case = Case((str(save(tmp_path / "i.nii.gz", image, affine)),), str(save(tmp_path / "l.nii.gz", label, affine)))
    found, truth = prepared(case, VolumePreprocessing((8, 8, 8), (1.25, 1.0, 1.0), AS_IT_IS))
    ras = torch.from_numpy(np.asarray(nibabel.as_closest_canonical(nibabel.load(case.images[0])).dataobj).copy())
    # RAS axes are the file's third, first and second: 10 x 2.5, 12 x 1, 14 x 0.8 mm.
    assert truth is not None and found.shape[1:] == truth.shape == (20, 12, 11)
    expected = F.interpolate(ras[None, None], size=(20, 12, 11), mode="trilinear", align_corners=False)[0]
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(14, 6, 5), (3, 6, 5), (7, 12, 3), (1, 1, 1), (40, 9, 9)])
@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_slabs_are_the_whole(size: tuple[int, int, int], rows: int) -> None:
    volume = torch.randn(2, 7, 6, 5, generator=torch.Generator().manual_seed(0))
    found = torch.cat(list(resample_slabs(volume.split(rows, dim=1), 7, size)), dim=1)
    expected = F.interpolate(volume[None], size=size, mode="trilinear", align_corners=False)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_slab_is_handed_out_as_soon_as_it_is_known() -> None:
    handed: list[int] = []

    def slabs() -> object:
        for start in range(0, 12, 3):
            handed.append(-start)
            yield torch.zeros(1, 3, 2, 2)

    for slab in resample_slabs(slabs(), 12, (24, 2, 2)):
        handed.append(slab.shape[1])
    # Of 3 known rows of 12, 5 of 24 lie before the middle of the third.
    assert handed == [0, 5, -3, 6, -6, 6, -9, 7]


def test_labels_are_torchs_nearest_exact() -> None:
    label = np.random.default_rng(0).integers(0, 9, (7, 6, 5))
    for size in [(14, 6, 5), (3, 9, 4), (7, 6, 10)]:
        expected = F.interpolate(torch.from_numpy(label)[None, None].float(), size=size, mode="nearest-exact")[0, 0]
        assert np.array_equal(nearest(label, size), expected.numpy())


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1.0, -1, 1, 1]), oblique()], ids=["ras", "lps", "oblique"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_a_label_map_goes_back_where_it_came_from(tmp_path: Path, affine: np.ndarray, dtype: type) -> None:
    _, label = ball((11, 13, 9), 4)
    image = nibabel.Nifti1Image(label.astype(np.float64) * 900, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"a scanner"
    image.header.set_slope_inter(2.0, -1.0)
    nibabel.save(image, tmp_path / "i.nii.gz")
    source = open_nifti(tmp_path / "i.nii.gz")
    with scratch(source.ras_shape, dtype) as labels:
        labels[...] = np.asarray(nibabel.as_closest_canonical(nibabel.Nifti1Image(label, affine)).dataobj)
        write_nifti(tmp_path / "o.nii.gz", labels, source)
    back = nibabel.load(tmp_path / "o.nii.gz")
    assert back.shape == label.shape and back.get_data_dtype() == dtype
    assert np.array_equal(back.affine, nibabel.load(tmp_path / "i.nii.gz").affine)
    assert np.array_equal(np.asarray(back.dataobj), label)
    assert back.header.get_slope_inter() in ((None, None), (1.0, 0.0))
    assert back.header.get_xyzt_units() == ("mm", "sec")
    for kind in ("sform", "qform"):
        assert back.header[f"{kind}_code"] == image.header[f"{kind}_code"]


def test_a_label_map_of_several_channels_input_is_3d(tmp_path: Path) -> None:
    image, label = ball((6, 7, 8), 0)
    source = open_nifti(save(tmp_path / "i.nii.gz", np.stack([image, image], axis=-1)))
    write_nifti(tmp_path / "o.nii", label, source)
    assert nibabel.load(tmp_path / "o.nii").shape == (6, 7, 8)


def test_files_of_one_case_stand_together(tmp_path: Path) -> None:
    for name in ("a_0000", "a_0001", "b"):
        save(tmp_path / f"{name}.nii.gz", ball((6, 7, 8), 0)[0])
    assert [len(case.images) for case in find_volumes([tmp_path])] == [2, 1]
    with pytest.raises(ValueError, match="be a volume"):
        find_volumes([tmp_path / "nothing"])
