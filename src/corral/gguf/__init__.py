"""GGUF model files: header, metadata and tensor table, read lazily and checked. Never tensor data."""

from corral.gguf.names import file_type_name, format_parameter_count
from corral.gguf.reader import GGUFArray, GGUFFile, TensorInfo
from corral.gguf.validate import check_loadable

__all__ = [
    "GGUFArray",
    "GGUFFile",
    "TensorInfo",
    "check_loadable",
    "file_type_name",
    "format_parameter_count",
]
