"""Learning-rate schedules as pure functions of the updates completed: torch's names, exact on resume and extension."""

from __future__ import annotations

from .binding import bind_schedule, curves, driven, learns, preview
from .bound import Bound, Horizon, Schedule
from .cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from .cyclic import CyclicLR
from .decays import ExponentialLR, InverseSqrtLR, LinearLR, PolynomialLR
from .functions import LambdaLR, MultiplicativeLR
from .groups import Drive, PerGroup, assign, drive
from .joining import ChainedScheduler, Joined, SequentialLR
from .onecycle import OneCycleLR
from .own import FromTorch, TableLR, as_schedule
from .parts import Part, Warmup, warmup
from .plateau import ReduceLROnPlateau
from .steps import ConstantLR, MultiStepLR, StepLR

__all__ = [
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
    "Warmup",
    "as_schedule",
    "assign",
    "bind_schedule",
    "curves",
    "drive",
    "driven",
    "learns",
    "preview",
    "warmup",
]
