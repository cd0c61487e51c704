"""In which numbers: autocast, loss scaling, the one place where an update is made; what is safe, what is fast."""

from hone.allocator import keep_freed_memory
from hone.precision.batch_size import accumulation, largest_batch
from hone.precision.checkpointing import blocks_of, checkpoint_blocks
from hone.precision.cpu_convolutions import has_faulty_convolutions, mend_convolutions
from hone.precision.cpu_prelu import speed_up_prelu
from hone.precision.device import is_fast_bf16, native_bf16, usable_kind
from hone.precision.doctor import diagnose
from hone.precision.keep import keep_fp32
from hone.precision.measure import find_batch_size, measure_plans
from hone.precision.picture import draw_layers
from hone.precision.plan import Measurement, Plan, PlanTable, all_plans
from hone.precision.plan_cache import plan_key, recall_choice, remember_choice, remembered, setup_key
from hone.precision.scaling import ScaleCollapseError
from hone.precision.step import Precision, StepResult
from hone.precision.suit import suit
from hone.precision.verdict import Diagnosis, Fault, Layer, Verdict

__all__ = [
    "Diagnosis",
    "Fault",
    "Layer",
    "Measurement",
    "Plan",
    "PlanTable",
    "Precision",
    "ScaleCollapseError",
    "StepResult",
    "Verdict",
    "accumulation",
    "all_plans",
    "blocks_of",
    "checkpoint_blocks",
    "diagnose",
    "draw_layers",
    "find_batch_size",
    "has_faulty_convolutions",
    "is_fast_bf16",
    "keep_fp32",
    "keep_freed_memory",
    "largest_batch",
    "measure_plans",
    "mend_convolutions",
    "native_bf16",
    "plan_key",
    "recall_choice",
    "remember_choice",
    "remembered",
    "setup_key",
    "speed_up_prelu",
    "suit",
    "usable_kind",
]
