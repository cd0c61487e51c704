"""Overlapping windows against MONAI's sliding_window_inference; slabs against the whole; both bounded in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import product

import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from hone.training import blend_weights, sliding_slabs, sliding_window

CASES = [  # spatial size, window, overlap, windows at a time
    ((50, 70), (32, 32), 0.25, 4),
    ((50, 70), (32, 16), 0.5, 3),
    ((20, 70), (32, 32), 0.25, 1),
    ((9, 11), (32, 16), 0.0, 4),
    ((33, 32), (32, 32), 0.99, 5),
    ((20, 31, 17), (8, 16, 8), 0.5, 4),
    ((5, 31, 6), (8, 16, 8), 0.25, 7),
    ((19, 5, 23), (8, 8, 8), 0.625, 2),
    ((40,), (16,), 0.3, 2),
]


def network(rank: int, seed: int = 0) -> nn.Module:
    """One whose output depends on where in its window a voxel lies, as a padded convolution's does."""
    torch.manual_seed(seed)
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[rank]
    return nn.Sequential(kind(2, 4, 5, padding=2), nn.ReLU(), kind(4, 3, 3, padding=1)).requires_grad_(False)


def example(spatial: tuple[int, ...], n: int = 2) -> Tensor:
    return torch.randn(n, 2, *spatial, generator=torch.Generator().manual_seed(len(spatial)))


@pytest.mark.parametrize("weights", ["gaussian", "constant"])
@pytest.mark.parametrize(("spatial", "window", "overlap", "batch_size"), CASES)
def test_equals_monai(
    spatial: tuple[int, ...], window: tuple[int, ...], overlap: float, batch_size: int, weights: str
) -> None:
    model, inputs = network(len(spatial)), example(spatial)
    found = sliding_window(model, inputs, window, overlap=overlap, weights=weights, batch_size=batch_size)
    expected = sliding_window_inference(inputs, window, batch_size, model, overlap=overlap, mode=weights)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("spatial", "window", "overlap", "batch_size"), CASES)
def test_slabs_are_the_whole_in_pieces(
    spatial: tuple[int, ...], window: tuple[int, ...], overlap: float, batch_size: int
) -> None:
    model, inputs = network(len(spatial)), example(spatial)
    whole = sliding_window(model, inputs, window, overlap=overlap, batch_size=batch_size)
    slabs = list(sliding_slabs(model, inputs, window, overlap=overlap, batch_size=batch_size))
    ends = [start + slab.shape[2] for start, slab in slabs]
    assert [start for start, _ in slabs] == [0, *ends[:-1]]
    assert ends[-1] == spatial[0]
    torch.testing.assert_close(torch.cat([slab for _, slab in slabs], dim=2), whole, atol=1e-6, rtol=1e-5)


def test_the_grid_matters() -> None:
    """The deliberately wrong variants: another overlap, or other weights, are told apart by the tolerance."""
    model, inputs = network(2), example((50, 70))
    right = sliding_window(model, inputs, (32, 32), overlap=0.25)
    for wrong in ({"overlap": 0.5}, {"weights": "constant"}, {"flips": (1,)}):
        assert (sliding_window(model, inputs, (32, 32), **wrong) - right).abs().max() > 1e-4


def test_the_overlap_is_a_quarter_in_two_dimensions_and_a_half_in_three() -> None:
    for spatial, window, overlap in (((50, 70), (32, 32), 0.25), ((20, 31, 17), (8, 16, 8), 0.5)):
        model, inputs = network(len(spatial)), example(spatial)
        stated = sliding_window(model, inputs, window, overlap=overlap)
        assert torch.equal(sliding_window(model, inputs, window), stated)


def test_flips_are_the_mean_over_all_mirrored_inputs() -> None:
    """On a symmetric grid, mirroring the windows is mirroring the input."""
    model, inputs = network(3), example((16, 12, 8))
    axes = [2 + axis for axis in (0, 2)]
    options = [
        [axis for axis, chosen in zip(axes, choice, strict=True) if chosen] for choice in product((0, 1), (0, 1))
    ]
    mirrored = [sliding_window(model, inputs.flip(chosen), (8, 8, 8)).flip(chosen) for chosen in options]
    found = sliding_window(model, inputs, (8, 8, 8), flips=(0, 2))
    torch.testing.assert_close(found, torch.stack(mirrored).mean(0), atol=1e-6, rtol=1e-5)


def test_half_outputs_are_summed_in_float32() -> None:
    model = network(2)
    whole = sliding_window(lambda x: model(x).bfloat16(), example((50, 70)), (32, 32))
    assert whole.dtype == torch.float32
    assert sliding_window(lambda x: x, example((50, 70)).double(), (32, 32)).dtype == torch.float64


def test_weights_are_symmetric_and_above_zero() -> None:
    weights = blend_weights((33, 16))
    assert weights.min() >= 1e-3
    assert weights[16].argmax() in (7, 8)
    torch.testing.assert_close(weights, weights.flip(0, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: sliding_window(lambda y: y, x, (8,)), "window must be 2 sizes above 0"),
        (lambda x: sliding_window(lambda y: y, x, (8, 0)), "window must be 2 sizes above 0"),
        (lambda x: sliding_window(lambda y: y, x, (8, 8), overlap=1.0), "overlap must be a finite number"),
        (lambda x: sliding_window(lambda y: y, x, (8, 8), weights="round"), "weights 'round' is not known"),
        (lambda x: sliding_window(lambda y: y, x, (8, 8), flips=(2,)), "flips must be a whole number"),
        (lambda x: sliding_window(lambda y: y, x, (8, 8), batch_size=0), "batch_size must be"),
        (lambda x: sliding_window(lambda y: y[..., :4], x, (8, 8)), "model must give logits of the window's size"),
        (lambda x: sliding_window(lambda y: y, x[:0], (8, 8)), "inputs must hold at least one sample"),
    ],
)
def test_bad_arguments_are_one_clear_line(call: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        call(example((20, 20)))


_PEAK = """
import resource, sys, torch
from hone.training import sliding_slabs
torch.set_num_threads(1)
length = int(sys.argv[1])
inputs = torch.from_file(sys.argv[2], shared=True, size=length * 64 * 64, dtype=torch.float32)
inputs = inputs.view(1, 1, length, 64, 64)
model = lambda x: torch.cat([x] * 8, dim=1)
rows = sum(int(slab.argmax(1).shape[1]) for _, slab in sliding_slabs(model, inputs, (32, 64, 64)))
assert rows == length
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_the_memory_of_slabs_does_not_grow_with_the_length(tmp_path: object) -> None:
    peaks = []
    for length in (128, 1024):
        command = [sys.executable, "-c", _PEAK, str(length), f"{tmp_path}/{length}.bin"]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024)
    # The logits of the long one are 134 MB, its input 17 MB (pages of the file, which count as resident).
    assert peaks[1] - peaks[0] < 30, f"{peaks} MiB"
