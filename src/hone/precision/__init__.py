"""In which numbers: autocast, loss scaling, the one place where an update is made; what is safe, what is fast."""

from hone.precision.device import native_bf16
from hone.precision.scaling import ScaleCollapseError
from hone.precision.step import Precision, StepResult

__all__ = ["Precision", "ScaleCollapseError", "StepResult", "native_bf16"]
