"""Volumes: NIfTI files by case, brought to one orientation and spacing once, and the patches that training sees."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batches import VolumeBatches, WholeVolumes
    from .cases import Case
    from .examples import VolumeExamples
    from .nifti import Nifti, open_nifti, write_nifti
    from .prepared import PreparedVolumes
    from .preprocessing import VolumePreprocessing
    from .reading import read_volumes
    from .resampling import resample_slabs

#: Public name -> the file that defines it; resolved on first use.
_HOME = {
    "Case": "cases",
    "Nifti": "nifti",
    "PreparedVolumes": "prepared",
    "VolumeBatches": "batches",
    "VolumeExamples": "examples",
    "VolumePreprocessing": "preprocessing",
    "WholeVolumes": "batches",
    "open_nifti": "nifti",
    "read_volumes": "reading",
    "resample_slabs": "resampling",
    "write_nifti": "nifti",
}

__all__ = [
    "Case",
    "Nifti",
    "PreparedVolumes",
    "VolumeBatches",
    "VolumeExamples",
    "VolumePreprocessing",
    "WholeVolumes",
    "open_nifti",
    "read_volumes",
    "resample_slabs",
    "write_nifti",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
