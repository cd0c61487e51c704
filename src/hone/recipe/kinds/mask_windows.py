"""A segmentation network over images of any size: whole where that fits, else in overlapping windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from hone.data.masks import MaskPreprocessing
from hone.training import sliding_slabs, sliding_window

#: The least side of a window: more of an image at once is seen better, and faster, than small windows.
_WINDOW = 512
#: An image of at most so many windows' pixels is looked at whole.
_WHOLE = 2

Network = Callable[[Tensor], Tensor]


def whole_or_windows(model: Network, inputs: Tensor, preprocessing: MaskPreprocessing) -> Tensor:
    """The logits of whole images.

    Args:
        model: takes sides that are multiples of ``preprocessing.multiple``.
        inputs: (n, 3, H, W), normalised.
        preprocessing: of the run.

    Returns:
        (n, C, H, W).
    """
    height, width = inputs.shape[2:]
    if fits(height, width, preprocessing):
        return model(_filled(inputs, preprocessing))[..., :height, :width]
    window = 2 * (window_side(preprocessing),)
    return sliding_window(model, inputs, window, overlap=preprocessing.overlap)


def label_slabs(
    model: Network,
    image: Tensor,
    preprocessing: MaskPreprocessing,
    *,
    batch_size: int,
    device: torch.device,
    flips: Sequence[int] = (),
) -> Iterator[Tensor]:
    """The logits of one image from its top to its bottom, a slab at a time.

    Args:
        model: ``(n, H, W, 3) uint8 -> (n, C, H, W)``: normalises what it is given.
        image: (H, W, 3) uint8.
        preprocessing: of the run.
        batch_size: windows at a time.
        device: where the model is.
        flips: 1 takes the mean with what is said of the image mirrored left and right, 0 up and down.

    Yields:
        (C, rows, W).
    """
    height, width = image.shape[:2]
    multiple, side = preprocessing.multiple, window_side(preprocessing)
    whole = (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
    window = whole if fits(height, width, preprocessing) else (side, side)
    size = (max(window[0], height), max(window[1], width))
    slabs = sliding_slabs(
        lambda patches: model(patches.permute(0, 2, 3, 1)),
        _bordered(image, size, preprocessing).permute(2, 0, 1)[None],
        window,
        overlap=preprocessing.overlap,
        batch_size=batch_size,
        flips=flips,
        device=device,
    )
    for start, logits in slabs:
        if start < height:
            yield logits[0, :, : height - start, :width]


def window_side(preprocessing: MaskPreprocessing) -> int:
    """Of a window over a large image, pixels.

    Example:
        >>> window_side(MaskPreprocessing(image_size=128)), window_side(MaskPreprocessing(image_size=640))
        (512, 640)
    """
    return max(preprocessing.image_size, _WINDOW // preprocessing.multiple * preprocessing.multiple)


def fits(height: int, width: int, preprocessing: MaskPreprocessing) -> bool:
    """Whether an image is looked at whole.

    Example:
        >>> fits(600, 800, MaskPreprocessing()), fits(1200, 800, MaskPreprocessing())
        (True, False)
    """
    return height * width <= _WHOLE * window_side(preprocessing) ** 2


def _filled(inputs: Tensor, preprocessing: MaskPreprocessing) -> Tensor:
    """With the border of :func:`_bordered`, normalised, below and to the right, up to sides that the network takes."""
    height, width = inputs.shape[2:]
    below, beside = (-side % preprocessing.multiple for side in (height, width))
    if not (below or beside):
        return inputs
    mean, std = (inputs.new_tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    border = ((255 * mean).round() / 255 - mean) / std
    filled = pad(inputs, (0, beside, 0, below))
    filled[..., height:, :] = border
    filled[..., width:] = border
    return filled


def _bordered(image: Tensor, size: tuple[int, int], preprocessing: MaskPreprocessing) -> Tensor:
    """(H, W, 3) bytes with the mean colour below and to the right."""
    if tuple(image.shape[:2]) == size:
        return image
    whole = torch.tensor([round(255 * value) for value in preprocessing.mean], dtype=torch.uint8).repeat(*size, 1)
    whole[: image.shape[0], : image.shape[1]] = image
    return whole
