"""The file types that weights can be quantised to: llama-quantize's names, and the main tensor type of each.

llama.cpp: tools/quantize/quantize.cpp, llama_ftype_get_default_type.
"""

from __future__ import annotations

from corral.errors import QuantizeError

FLOAT_TYPES = ("F32", "F16", "BF16")
# File type -> type of the tensors without a special rule.
FILE_TYPES: dict[str, str] = {
    "F32": "F32",
    "F16": "F16",
    "BF16": "BF16",
    "Q8_0": "Q8_0",
    "Q4_0": "Q4_0",
    "Q4_1": "Q4_1",
    "Q5_0": "Q5_0",
    "Q5_1": "Q5_1",
    "Q2_K": "Q2_K",
    "Q2_K_S": "Q2_K",
    "Q3_K_S": "Q3_K",
    "Q3_K_M": "Q3_K",
    "Q3_K_L": "Q3_K",
    "Q4_K_S": "Q4_K",
    "Q4_K_M": "Q4_K",
    "Q5_K_S": "Q5_K",
    "Q5_K_M": "Q5_K",
    "Q6_K": "Q6_K",
    "IQ1_S": "IQ1_S",
    "IQ1_M": "IQ1_M",
    "IQ2_XXS": "IQ2_XXS",
    "IQ2_XS": "IQ2_XS",
    "IQ2_S": "IQ2_XS",
    "IQ2_M": "IQ2_S",
    "IQ3_XXS": "IQ3_XXS",
    "IQ3_XS": "IQ3_S",
    "IQ3_S": "IQ3_S",
    "IQ3_M": "IQ3_S",
    "IQ4_NL": "IQ4_NL",
    "IQ4_XS": "IQ4_XS",
    "TQ1_0": "TQ1_0",
    "TQ2_0": "TQ2_0",
    "Q1_0": "Q1_0",
    "Q2_0": "Q2_0",
    "MXFP4_MOE": "MXFP4",
}
_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
# The types that errors list: those that need no importance matrix.
SHOWN_FILE_TYPES = tuple(
    name for name in FILE_TYPES if not name.startswith(("IQ", "TQ", "Q1", "Q2_0", "Q2_K_S"))
)


def parse_file_type(text: str) -> str:
    """The name of a file type from user input, in any letter case.

    Raises:
        QuantizeError: an unknown type; the text lists the known ones.
    """
    name = text.strip().upper()
    name = _ALIASES.get(name, name)
    if name not in FILE_TYPES:
        raise QuantizeError(
            f"unsupported quantization type {text.upper()} - supported types are {', '.join(SHOWN_FILE_TYPES)}"
        )
    return name
