"""GGUF model files: header, metadata and tensor table, read lazily and checked. Never reads tensor data."""

from corral.weights.gguf.names import file_type_name, format_parameter_count
from corral.weights.gguf.reader import GGUFArray, GGUFFile, TensorInfo
from corral.weights.gguf.validate import check_loadable
from corral.weights.gguf.values import decode_value, encode_value
from corral.weights.gguf.writer import NewTensor, build_header

__all__ = [
    "GGUFArray",
    "GGUFFile",
    "NewTensor",
    "TensorInfo",
    "build_header",
    "check_loadable",
    "decode_value",
    "encode_value",
    "file_type_name",
    "format_parameter_count",
]
