"""Size and wholeness of an image file from a few hundred of its bytes."""

from __future__ import annotations

import os
import struct
from io import FileIO

from PIL import Image

from .decoding import DECODE_ERRORS, decode, unreadable_reason

#: Bytes read at once at the beginning: enough for the headers of most files.
_HEAD = 2048
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ORIENTATION = 0x0112


def look_at(path: str) -> tuple[int, int]:
    """The (width, height) of an image as it will be decoded, upright, without decoding it.

    A JPEG that does not end in its end marker, or a PNG that does not end in IEND, was perhaps cut off: such a file,
    and any whose headers are unusual, is decoded whole. Damage in the middle of a file is found when it is decoded.

    Raises:
        ValueError: the file can't be read; the message is the reason alone.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (40, 30)).save(f"{folder}/a.jpg")
        ...     look_at(f"{folder}/a.jpg")
        (40, 30)
    """
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            size = os.fstat(file.fileno()).st_size
            head = _at(file, 0, _HEAD)
            found = _jpeg(file, head, size) or _png(file, head, size)
    except (struct.error, IndexError):
        found = None
    except OSError as error:
        raise ValueError(unreadable_reason(error)) from None
    if not size:
        raise ValueError("the file is empty")
    return found or _by_pillow(path, head)


def _at(file: FileIO, place: int, count: int) -> bytes:
    file.seek(max(place, 0))
    return file.read(count)


def _jpeg(file: FileIO, head: bytes, size: int) -> tuple[int, int] | None:
    """Walk the segments up to the frame header; None: not a JPEG, or not one that is surely whole."""
    if head[:2] != b"\xff\xd8" or _at(file, size - 2, 2) != b"\xff\xd9":
        return None
    place, turned = 2, False
    while True:
        if place + 10 > len(head):
            head = _at(file, 0, place + _HEAD)
        marker, length = head[place + 1], struct.unpack_from(">H", head, place + 2)[0]
        if head[place] != 0xFF or marker == 0xFF:
            return None
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", head, place + 5)
            return (height, width) if turned else (width, height)
        if marker == 0xE1 and head[place + 4 : place + 10] == b"Exif\0\0":
            turned = _is_turned(_at(file, place + 10, length - 8))
        place += 2 + length


def _png(file: FileIO, head: bytes, size: int) -> tuple[int, int] | None:
    if head[:8] != b"\x89PNG\r\n\x1a\n" or _at(file, size - 8, 4) != b"IEND":
        return None
    # Orientation stands in a chunk that may lie anywhere; Pillow finds it.
    if b"eXIf" in head:
        return None
    width, height = struct.unpack_from(">II", head, 16)
    return width, height


def _is_turned(exif: bytes) -> bool:
    """Whether the first directory of a TIFF block says that width and height change places (orientation 5 to 8)."""
    order = "<" if exif[:2] == b"II" else ">"
    directory = struct.unpack_from(order + "I", exif, 4)[0]
    entries = struct.unpack_from(order + "H", exif, directory)[0]
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", exif, entry)
        if tag == _ORIENTATION:
            return bool(5 <= value <= 8)
    return False


def _by_pillow(path: str, head: bytes) -> tuple[int, int]:
    try:
        if head[:2] == b"\xff\xd8" or head[:4] == b"\x89PNG":
            # Perhaps cut off: only decoding tells.
            height, width = decode(path).shape[:2]
            return width, height
        with Image.open(path) as image:
            # Of a TIFF, Pillow gives the upright size and turns the pixels itself.
            turned = image.format != "TIFF" and 5 <= image.getexif().get(_ORIENTATION, 1) <= 8
            width, height = image.size
    except DECODE_ERRORS as error:
        raise ValueError(unreadable_reason(error)) from None
    return (height, width) if turned else (width, height)
