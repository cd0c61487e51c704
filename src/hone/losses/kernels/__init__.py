"""Fused forward and backward of the sums behind every region loss: native on the CPU, Triton (on request) on the GPU.

They keep only logits and target between the two, and write the gradient directly. `in_use` says which one a device
has; where there is none (no compiler at install time, another device, a dtype they don't know) the losses use plain
torch and give the same values.
"""

from __future__ import annotations

from hone.losses.kernels.choice import in_use, plain_torch, use_triton

__all__ = ["in_use", "plain_torch", "use_triton"]
