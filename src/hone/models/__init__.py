"""Models by name, from torchvision, timm, or the user's own module."""

from hone.models.build import build_model, input_preprocessing, takes_one_size
from hone.models.names import ModelName, find_model, import_name

__all__ = ["ModelName", "build_model", "find_model", "import_name", "input_preprocessing", "takes_one_size"]
