"""The loop, its evaluation, its checkpoints, and several processes."""

from hone.training.checkpoint import Checkpoint, list_checkpoints, read_checkpoint, save_checkpoint, write_tensors
from hone.training.distributed import World, join_world, pick_device
from hone.training.evaluate import Outputs, run_over
from hone.training.metrics import METRICS, check_metric, is_better, measure
from hone.training.record import Record, read_record
from hone.training.step import LoopState, NonFiniteLossError, Step
from hone.training.stop import StopSignal
from hone.training.updates import Batches, updates

__all__ = [
    "METRICS",
    "Batches",
    "Checkpoint",
    "LoopState",
    "NonFiniteLossError",
    "Outputs",
    "Record",
    "Step",
    "StopSignal",
    "World",
    "check_metric",
    "is_better",
    "join_world",
    "list_checkpoints",
    "measure",
    "pick_device",
    "read_checkpoint",
    "read_record",
    "run_over",
    "save_checkpoint",
    "updates",
    "write_tensors",
]
