"""How long a video file says that it is: a file that is shorter was cut off."""

from __future__ import annotations

import os
import struct
from io import BufferedReader
from pathlib import Path

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
#: The boxes that an MP4 or MOV file may begin with.
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")


def is_cut_off(path: str | Path) -> bool:
    """Whether the file ends before its container says that it does.

    The containers count their own bytes: the boxes of MP4 and MOV, the segment of Matroska and WebM, the chunks of AVI.
    Demuxers read what is there and stop without a word, so nothing else tells a file that was cut off from a short
    one. False where the container doesn't say, as in a live recording.

    Args:
        path: a file.

    Example:
        >>> import tempfile
        >>> boxes = struct.pack(">I4s", 8, b"ftyp") + struct.pack(">I4s", 16, b"mdat")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, length in (("whole", 8), ("cut", 4)):
        ...         _ = Path(folder, name).write_bytes(boxes + bytes(length))
        ...     is_cut_off(f"{folder}/whole"), is_cut_off(f"{folder}/cut")
        (False, True)
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(12)
        if head[4:8] in _BOXES:
            return _end_of_boxes(file, size) > size
        if head[:4] == _EBML:
            return _end_of_segment(file) > size
        if head[:4] == b"RIFF":
            return 8 + int(struct.unpack_from("<I", head, 4)[0]) > size
    return False


def _end_of_boxes(file: BufferedReader, size: int) -> int:
    """Where the last of the outermost boxes ends."""
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return place + 8
        length = struct.unpack_from(">I", head)[0]
        if length == 1 and len(head) == 16:
            length = struct.unpack_from(">Q", head, 8)[0]
        if length == 0:  # to the end of the file
            return size
        if length < 8:
            return place  # no box: what follows is not of this format
        place += length
    return place


def _end_of_segment(file: BufferedReader) -> int:
    """Where the segment ends; 0 where its length is not stated."""
    file.seek(4)
    header = _length(file)
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    length = _length(file)
    return 0 if length < 0 else file.tell() + length


def _length(file: BufferedReader) -> int:
    """An EBML number: the leading zeros of its first byte say how many follow; all ones (here -1) mean unknown."""
    first = file.read(1)[0]
    count = 8 - first.bit_length()
    value = int.from_bytes(bytes([first & (0x7F >> count)]) + file.read(count), "big")
    return -1 if value == (1 << (7 * (count + 1))) - 1 else value
