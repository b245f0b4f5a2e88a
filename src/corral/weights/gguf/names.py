"""Names and block sizes of ggml's tensor types, names of GGUF's file types, and readable parameter counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorType:
    """`block_bytes` bytes hold `block_elements` weights."""

    name: str
    block_elements: int
    block_bytes: int


# Numbers from ggml.h; the gaps are withdrawn types.
TENSOR_TYPES: dict[int, TensorType] = {
    number: TensorType(name, elements, size)
    for number, name, elements, size in (
        (0, "F32", 1, 4),
        (1, "F16", 1, 2),
        (2, "Q4_0", 32, 18),
        (3, "Q4_1", 32, 20),
        (6, "Q5_0", 32, 22),
        (7, "Q5_1", 32, 24),
        (8, "Q8_0", 32, 34),
        (9, "Q8_1", 32, 36),
        (10, "Q2_K", 256, 84),
        (11, "Q3_K", 256, 110),
        (12, "Q4_K", 256, 144),
        (13, "Q5_K", 256, 176),
        (14, "Q6_K", 256, 210),
        (15, "Q8_K", 256, 292),
        (16, "IQ2_XXS", 256, 66),
        (17, "IQ2_XS", 256, 74),
        (18, "IQ3_XXS", 256, 98),
        (19, "IQ1_S", 256, 50),
        (20, "IQ4_NL", 32, 18),
        (21, "IQ3_S", 256, 110),
        (22, "IQ2_S", 256, 82),
        (23, "IQ4_XS", 256, 136),
        (24, "I8", 1, 1),
        (25, "I16", 1, 2),
        (26, "I32", 1, 4),
        (27, "I64", 1, 8),
        (28, "F64", 1, 8),
        (29, "IQ1_M", 256, 56),
        (30, "BF16", 1, 2),
        (34, "TQ1_0", 256, 54),
        (35, "TQ2_0", 256, 66),
        (39, "MXFP4", 32, 17),
        (40, "NVFP4", 64, 36),
        (41, "Q1_0", 128, 18),
        (42, "Q2_0", 64, 18),
    )
}

TENSOR_TYPE_NUMBERS: dict[str, int] = {kind.name: number for number, kind in TENSOR_TYPES.items()}

_FILE_TYPES = {
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}
FILE_TYPE_NUMBERS: dict[str, int] = {"F32": 0} | {name: number for number, name in _FILE_TYPES.items()}


def file_type_name(number: int) -> str:
    """The name of `general.file_type`; 0 (all F32) is unknown, as in Ollama."""
    return _FILE_TYPES.get(number, "unknown")


def row_bytes(type_name: str, n_elements: int) -> int:
    """Bytes of `n_elements` weights of a type; `n_elements` must be a whole number of blocks."""
    kind = TENSOR_TYPES[TENSOR_TYPE_NUMBERS[type_name]]
    return n_elements // kind.block_elements * kind.block_bytes


def format_parameter_count(count: int) -> str:
    """`7B`, `1.2B`, `20.69M`, `500K`, `999`."""
    for limit, decimals, unit in ((10**9, 1, "B"), (10**6, 2, "M")):
        if count >= limit:
            value = count / limit
            return f"{value:.0f}{unit}" if count % limit == 0 else f"{value:.{decimals}f}{unit}"
    return f"{count / 1000:.0f}K" if count >= 1000 else str(count)
