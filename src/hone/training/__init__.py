"""The loop, its evaluation, its checkpoints, and several processes."""

from hone.training.calibration import calibrated_losses
from hone.training.checkpoint import Checkpoint, list_checkpoints, read_checkpoint, save_checkpoint, write_tensors
from hone.training.distributed import World, join_world, pick_device
from hone.training.evaluate import Inference, Outputs, run_over
from hone.training.metrics import METRICS, check_metric, is_better, measure, standard_error
from hone.training.overlap_metrics import (
    dice_scores,
    index_counts,
    iou_scores,
    label_counts,
    overlap_counts,
    overlap_metrics,
)
from hone.training.record import Record, read_record
from hone.training.sliding_window import sliding_slabs, sliding_window
from hone.training.step import LoopState, NonFiniteLossError, Step
from hone.training.stop import StopSignal
from hone.training.updates import Batches, updates
from hone.training.window_grid import blend_weights

__all__ = [
    "METRICS",
    "Batches",
    "Checkpoint",
    "Inference",
    "LoopState",
    "NonFiniteLossError",
    "Outputs",
    "Record",
    "Step",
    "StopSignal",
    "World",
    "blend_weights",
    "calibrated_losses",
    "check_metric",
    "dice_scores",
    "index_counts",
    "iou_scores",
    "is_better",
    "join_world",
    "label_counts",
    "list_checkpoints",
    "measure",
    "overlap_counts",
    "overlap_metrics",
    "pick_device",
    "read_checkpoint",
    "read_record",
    "run_over",
    "save_checkpoint",
    "sliding_slabs",
    "sliding_window",
    "standard_error",
    "updates",
    "write_tensors",
]
