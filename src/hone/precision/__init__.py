"""In which numbers: autocast, loss scaling, the one place where an update is made; what is safe, what is fast."""

from hone.precision.device import native_bf16
from hone.precision.doctor import diagnose
from hone.precision.keep import keep_fp32
from hone.precision.scaling import ScaleCollapseError
from hone.precision.step import Precision, StepResult
from hone.precision.verdict import Diagnosis, Fault, Layer, Verdict

__all__ = [
    "Diagnosis",
    "Fault",
    "Layer",
    "Precision",
    "ScaleCollapseError",
    "StepResult",
    "Verdict",
    "diagnose",
    "keep_fp32",
    "native_bf16",
]
