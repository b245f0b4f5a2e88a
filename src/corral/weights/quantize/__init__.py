"""Quantises model files with the engine's kernels, and merges split ones. Tensor data equals llama-quantize's."""

from corral.weights.quantize.file_types import FILE_TYPES, parse_file_type
from corral.weights.quantize.files import quantize_file
from corral.weights.quantize.splits import group_splits, merge_splits

__all__ = ["FILE_TYPES", "group_splits", "merge_splits", "parse_file_type", "quantize_file"]
