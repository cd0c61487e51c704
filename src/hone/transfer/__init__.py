"""What to keep of a model and what to train: heads, source weights, freeze plans, parameter groups."""

from __future__ import annotations

from hone.transfer.audit import Audit, AuditRow
from hone.transfer.boundary import CannotCacheError, find_cut
from hone.transfer.copying import copy_weights
from hone.transfer.feature_cache import FeatureCache
from hone.transfer.feature_store import NoRoomError, StoredFeatures
from hone.transfer.fingerprint import fingerprint
from hone.transfer.freeze import apply_freeze, check_plan, ever_trained, norm_parameters
from hone.transfer.groups import GroupRow, group_rows, parameter_groups
from hone.transfer.heads import Head, find_head, replace_head
from hone.transfer.inputs import adapt_input
from hone.transfer.lora import add_adapter, add_lora, merge_adapters, merged_state_dict
from hone.transfer.plan import FreezePlan
from hone.transfer.resizing import adapt_channels, inflate, resize_positions
from hone.transfer.rows import LayerRow, layer_rows
from hone.transfer.splice import Features, Splice
from hone.transfer.weights import read_weights

__all__ = [
    "Audit",
    "AuditRow",
    "CannotCacheError",
    "FeatureCache",
    "Features",
    "FreezePlan",
    "GroupRow",
    "Head",
    "LayerRow",
    "NoRoomError",
    "Splice",
    "StoredFeatures",
    "adapt_channels",
    "adapt_input",
    "add_adapter",
    "add_lora",
    "apply_freeze",
    "check_plan",
    "copy_weights",
    "ever_trained",
    "find_cut",
    "find_head",
    "fingerprint",
    "group_rows",
    "inflate",
    "layer_rows",
    "merge_adapters",
    "merged_state_dict",
    "norm_parameters",
    "parameter_groups",
    "read_weights",
    "replace_head",
    "resize_positions",
]
