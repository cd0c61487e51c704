"""NIfTI files: their header checked, their voxels slab by slab, in the one orientation RAS.

RAS: the first axis runs from left to right, the second from back to front, the third from the feet up. A file's own
axes are some permutation of these, some of them reversed; ``in_file_axes`` undoes it without copying a voxel.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...checks import invalid

#: Bytes of voxels, as float32, that are read at once.
_SLAB_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Nifti:
    """A NIfTI file that is open, its header read.

    Attributes:
        path: the file.
        shape: (X, Y, Z), voxels, in the file's own axes.
        channels: of a 4D file, the length of its last axis.
        affine: (4, 4) float64: voxel to mm.
        image: nibabel's, whose voxels are read when they are asked for.
    """

    path: str
    shape: tuple[int, int, int]
    channels: int
    affine: np.ndarray
    image: Any = field(repr=False)

    @property
    def orientation(self) -> np.ndarray:
        """(3, 2): for each of the file's axes, which RAS axis it is, and 1 if it runs the same way, else -1."""
        found: np.ndarray = nibabel().io_orientation(self.affine)
        return found

    @property
    def ras_shape(self) -> tuple[int, int, int]:
        """(X, Y, Z), voxels, in RAS axes."""
        x, y, z = (int(size) for size in np.asarray(self.shape)[np.argsort(self.orientation[:, 0])])
        return x, y, z

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along each RAS axis, mm."""
        sizes = np.sqrt((self.affine[:3, :3] ** 2).sum(0))[np.argsort(self.orientation[:, 0])]
        x, y, z = (float(size) for size in sizes)
        return x, y, z

    @property
    def ras_affine(self) -> np.ndarray:
        """(4, 4): voxel in RAS axes to mm."""
        found: np.ndarray = self.affine @ nibabel().orientations.inv_ornt_aff(self.orientation, self.shape)
        return found

    def in_file_axes(self, ras: np.ndarray) -> np.ndarray:
        """A view of an (X, Y, Z) array in RAS axes whose axes are the file's."""
        orientations = nibabel().orientations
        back = orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), self.orientation)
        view: np.ndarray = orientations.apply_orientation(ras, back)
        return view

    def slabs(self, channel: int = 0) -> Iterator[tuple[slice, np.ndarray]]:
        """Voxels of a channel as they follow one another in the file: a slice of its third axis, (X, Y, k) float32.

        Raises:
            ValueError: the file ends too early or is damaged; it is named.
        """
        step = max(1, _SLAB_BYTES // (4 * self.shape[0] * self.shape[1]))
        for start in range(0, self.shape[2], step):
            part = slice(start, min(start + step, self.shape[2]))
            yield part, self._voxels(part, channel)

    def _voxels(self, part: slice, channel: int) -> np.ndarray:
        rank = len(self.image.shape)
        # Axes behind the third: the channels stand in the last, what lies between has length 1.
        index = (slice(None), slice(None), part, *[0] * (rank - 4), *([channel] if rank > 3 else []))
        try:
            return np.asarray(self.image.dataobj[index], dtype=np.float32)
        except (OSError, EOFError, ValueError, MemoryError) as error:
            raise _unreadable(self.path, error) from None


def nibabel() -> Any:
    """The library, if it is there.

    Raises:
        ValueError: it is not installed; what to do is said.
    """
    try:
        import nibabel
    except ModuleNotFoundError as error:
        raise ValueError(
            f"volumes need {error.name}, which is not installed: pip install 'torch-hone[volumes]'"
        ) from None
    return nibabel


def open_nifti(path: str | Path) -> Nifti:
    """Open a volume and check its header.

    Raises:
        ValueError: it is no NIfTI file, not 3D (or 4D: the channels of a volume), or does not say where it lies.
    """
    name = os.fspath(path)
    library = nibabel()
    try:
        # The file stays open: slabs are read one after another, and a .gz can only be read from its beginning.
        image = library.load(name, keep_file_open=True)
    except (OSError, EOFError, ValueError, library.filebasedimages.ImageFileError) as error:
        raise _unreadable(name, error) from None
    if not isinstance(image, library.Nifti1Image):
        raise invalid(name, "be a NIfTI file", type(image).__name__)
    shape = tuple(int(size) for size in image.shape)
    spatial, rest = shape[:3], shape[3:]
    if len(shape) < 3 or min(spatial) < 2:
        raise invalid(name, "be a volume (3D, or 4D with channels last)", shape, "it is 2D")
    if any(size != 1 for size in rest[:-1]):
        raise invalid(name, "have one axis of channels behind the three of space", shape)
    header = image.header
    if not (int(header["sform_code"]) or int(header["qform_code"])):
        raise ValueError(f"{name}: the affine is missing (sform and qform codes are 0): nothing says which way is up")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise invalid(f"{name}: the affine", "be finite and invertible", affine.round(4).tolist())
    x, y, z = spatial
    return Nifti(name, (x, y, z), rest[-1] if rest else 1, affine, image)


def write_nifti(path: str | Path, labels: np.ndarray, like: Nifti) -> None:
    """Write labels in the space of another file: its axes, affine, units and spatial codes.

    Args:
        path: .nii or .nii.gz.
        labels: (X, Y, Z) in RAS axes, of an integer dtype.
        like: the file that was predicted on.
    """
    library = nibabel()
    header = like.image.header.copy()
    header.set_data_dtype(labels.dtype)
    header.set_slope_inter(1, 0)
    header["cal_max"] = header["cal_min"] = 0
    header["descrip"] = b""
    header.set_data_shape(like.shape)
    kind = library.Nifti2Image if isinstance(like.image, library.Nifti2Image) else library.Nifti1Image
    image = kind(like.in_file_axes(labels), None, header)
    library.save(image, os.fspath(path))


def _unreadable(path: str, error: BaseException) -> ValueError:
    if isinstance(error, FileNotFoundError):
        return ValueError(f"{path}: there is no such file")
    reason = " ".join(str(error).split()).removeprefix(f"{path}: ") or type(error).__name__
    return ValueError(f"{path} can't be read as NIfTI: {reason}")
