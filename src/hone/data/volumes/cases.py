"""What a case is: the files of one volume, and what is known of it before any voxel is read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One volume: its image files, and what they show.

    Args:
        images: one file of one or more channels, or a file a modality, in their order.
        label: the file of its label map; None where there is none.
        part: "train", "val" or "test"; "" where the data leaves it open.
        name: of its class, for classification.

    Example:
        >>> Case(("images/a.nii.gz",), "labels/a.nii.gz").files
        ['images/a.nii.gz', 'labels/a.nii.gz']
    """

    images: tuple[str, ...]
    label: str | None = None
    part: str = ""
    name: str = ""

    @property
    def files(self) -> list[str]:
        """All its files."""
        return [*self.images, *([self.label] if self.label is not None else [])]


@dataclass(frozen=True)
class VolumeListing:
    """What a layout says.

    Args:
        cases: all volumes.
        classes: the names of the labels' values in their order, or of the class folders; None: seen in the labels.
        modalities: the names of the channels, where the layout says them.
        ignore: the value of voxels that no label is known of, where the layout says it.
        ignored: files that are no volumes by their name.
    """

    cases: list[Case]
    classes: list[str] | None = None
    modalities: tuple[str, ...] = ()
    ignore: int | None = None
    ignored: int = 0
