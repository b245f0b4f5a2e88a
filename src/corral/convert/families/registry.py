"""Which family converts which architecture (`architectures[0]` of config.json)."""

from __future__ import annotations

from corral.convert.families.family import Family
from corral.convert.families.llama import Llama
from corral.convert.families.mixtral import Mixtral
from corral.errors import ConversionError, UnsupportedArchitectureError

__all__ = ["FAMILIES", "find_family", "known_architectures"]

FAMILIES: dict[str, type[Family]] = {
    "LlamaForCausalLM": Llama,
    "MistralForCausalLM": Llama,
    "MixtralForCausalLM": Mixtral,
}


def known_architectures() -> tuple[str, ...]:
    """Names of all architectures that can be converted."""
    return tuple(sorted(FAMILIES))


def find_family(architectures: object) -> tuple[str, type[Family]]:
    """The family for `architectures` of a config.json.

    Raises:
        ConversionError: it names none.
        UnsupportedArchitectureError
    """
    if not isinstance(architectures, list) or not architectures or not isinstance(architectures[0], str):
        raise ConversionError("unknown architecture: config.json names none")
    name = architectures[0]
    family = FAMILIES.get(name)
    if family is None:
        raise UnsupportedArchitectureError(name[:200], known_architectures())
    return name, family
