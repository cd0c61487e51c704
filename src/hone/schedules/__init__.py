"""Learning-rate schedules as pure functions of the updates completed: torch's names, exact on resume and extension."""

from __future__ import annotations

from .binding import bind_schedule, curves, driven, learns, preview
from .bit import BiTHyperRuleLR
from .bound import Bound, Horizon, Schedule
from .bridge import TorchSchedule, as_torch
from .cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from .cyclic import CyclicLR
from .decays import ExponentialLR, InverseSqrtLR, LinearLR, PolynomialLR
from .extension import extend, extension_choices, horizon_changed
from .functions import LambdaLR, MultiplicativeLR
from .groups import Drive, PerGroup, assign, drive
from .joining import ChainedScheduler, Joined, SequentialLR
from .onecycle import OneCycleLR
from .own import FromTorch, TableLR, as_schedule
from .parts import Part, Warmup, warmup
from .plateau import ReduceLROnPlateau
from .stable import WarmupStableDecayLR, cosine_cooldown, linear_cooldown, sqrt_cooldown
from .steps import ConstantLR, MultiStepLR, StepLR

__all__ = [
    "BiTHyperRuleLR",
    "Bound",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "Drive",
    "ExponentialLR",
    "FromTorch",
    "Horizon",
    "InverseSqrtLR",
    "Joined",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "Part",
    "PerGroup",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "Schedule",
    "SequentialLR",
    "StepLR",
    "TableLR",
    "TorchSchedule",
    "Warmup",
    "WarmupStableDecayLR",
    "as_schedule",
    "as_torch",
    "assign",
    "bind_schedule",
    "cosine_cooldown",
    "curves",
    "drive",
    "driven",
    "extend",
    "extension_choices",
    "horizon_changed",
    "learns",
    "linear_cooldown",
    "preview",
    "sqrt_cooldown",
    "warmup",
]
