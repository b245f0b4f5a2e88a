"""GGUF model files: header, metadata and tensor table, read lazily and checked. Never tensor data."""

from corral.gguf.names import file_type_name, format_parameter_count
from corral.gguf.reader import GGUFArray, GGUFFile, TensorInfo
from corral.gguf.validate import check_loadable
from corral.gguf.values import decode_value, encode_value
from corral.gguf.writer import NewTensor, build_header

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
