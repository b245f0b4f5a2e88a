"""Conversion of LoRA adapters: PEFT's safetensors, and MLX's, whose matrices lie the other way round."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from corral.convert.checkpoint import Checkpoint
from corral.convert.config import Config
from corral.convert.families.decoder import Decoder
from corral.convert.families.family import gguf_name
from corral.convert.families.registry import FAMILIES
from corral.convert.lazy import Lazy
from corral.convert.output import Output
from corral.convert.safetensors import StoredTensor
from corral.errors import ConversionError, GGUFError
from corral.gguf import GGUFFile

__all__ = ["convert_adapter"]

_PART = re.compile(r"(?P<module>.+?)\.lora_(?P<part>[ABab])(?:\.default)?(?:\.weight)?")
_PREFIXES = ("base_model.model.", "base_model.")


# The two matrices of a module: `a` (rank, inputs) and `b` (outputs, rank).
_Pair = dict[str, Lazy]


def convert_adapter(
    files: Mapping[str, Path],
    base: Path,
    destination: Path,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the GGUF file of a LoRA adapter.

    Args:
        files: names relative to the adapter's folder and where each file lies; adapter_config.json is needed.
        base: the GGUF file of the model that the adapter was trained on.
        destination: is created or overwritten; what an error leaves there is of no use.
        on_progress: takes bytes written and bytes in total.

    Raises:
        ConversionError: the files cannot be converted, or do not fit the base.
        OSError: a file cannot be read or written.
    """
    checkpoint = Checkpoint(files)
    if checkpoint.path("adapter_config.json") is None:
        raise ConversionError("adapter_config.json is missing: an adapter is converted from its whole folder")
    config = Config(checkpoint.object("adapter_config.json"), "adapter_config.json")
    _check(config)
    try:
        model = GGUFFile.open(base)
    except GGUFError as exc:
        raise ConversionError(f"the base model cannot be read: {exc}") from exc
    families = [
        family
        for family in dict.fromkeys(FAMILIES.values())
        if family.gguf_arch == model.architecture and issubclass(family, Decoder)
    ]
    if not families:
        raise ConversionError(f'unsupported architecture "{model.architecture}" for an adapter')
    out = Output(model.architecture, only_float32=True)
    alpha, rank = _alpha(config), config.integer("r", "rank", default=8)
    if config.boolean("use_rslora", default=False):
        # The engine divides by the rank; this kind divides by its root.
        alpha *= math.sqrt(rank)
    out.set("general.type", "adapter")
    out.set("general.version", "v0.2")
    out.set("adapter.type", "lora")
    out.set_float("adapter.lora.alpha", alpha)
    heads = _heads(model)
    for kind, count in heads.items():
        out.set_int(f".attention.{kind}", count)
    shapes = {tensor.name: tensor.shape for tensor in model.tensors}
    n_block = model.get_arch("block_count")
    for module, pair in _pairs(checkpoint.tensors(is_adapter=True)).items():
        name = _name(module, families, n_block if isinstance(n_block, int) else 0)
        if name not in shapes:
            raise ConversionError(f'the base model has nothing for "{module[:200]}"')
        a, b = _oriented(module, pair, shapes[name])
        if families[0].has_permuted_heads:
            if name.endswith(".attn_q.weight"):
                b = b.permuted(heads["head_count"])
            elif name.endswith(".attn_k.weight"):
                b = b.permuted(heads["head_count_kv"])
        out.add(f"{name}.lora_a", a)
        out.add(f"{name}.lora_b", b)
    out.write(destination, on_progress)


def _check(config: Config) -> None:
    """Refuse what the engine's adapters cannot express."""
    kind = config.text("peft_type", default="LORA")
    if kind.upper() != "LORA":
        raise ConversionError(
            f"adapter_config.json: adapters of type {kind[:40]} cannot be converted, LORA can"
        )
    for name, what in (
        ("use_dora", "DoRA"),
        ("fan_in_fan_out", "fan_in_fan_out"),
    ):
        if config.boolean(name, default=False):
            raise ConversionError(f"adapter_config.json: the engine has no {what}")
    if config.text("bias", default="none") != "none":
        raise ConversionError("adapter_config.json: trained biases cannot be kept in an adapter")
    for name in ("alpha_pattern", "modules_to_save"):
        if config.values.get(name):
            raise ConversionError(f"adapter_config.json: {name} cannot be kept in an adapter")


def _alpha(config: Config) -> float:
    parameters = config.section("lora_parameters")
    if parameters is not None and parameters.number("alpha", default=0.0):
        return parameters.number("alpha")
    return config.number("lora_alpha", "alpha", default=8.0)


def _heads(model: GGUFFile) -> dict[str, int]:
    found = {}
    for kind in ("head_count", "head_count_kv"):
        count = model.get_arch(f"attention.{kind}", model.get_arch("attention.head_count"))
        if type(count) is not int or count < 1:
            raise ConversionError(f"the base model does not say its {kind}")
        found[kind] = count
    return found


def _pairs(tensors: Mapping[str, StoredTensor]) -> dict[str, _Pair]:
    pairs: dict[str, _Pair] = {}
    for name, stored in tensors.items():
        match = _PART.fullmatch(name)
        if match is None:
            raise ConversionError(f'tensor "{name[:200]}" does not belong to a LoRA adapter')
        values = stored.lazy()
        if len(values.shape) != 2:
            raise ConversionError(f'tensor "{name[:200]}" is no matrix')
        part = match["part"]
        if part.islower():
            # MLX multiplies from the other side.
            values = _transposed(values)
        pairs.setdefault(match["module"], {})[part.lower()] = values
    return pairs


def _name(module: str, families: Sequence[type[Decoder]], n_block: int) -> str | None:
    for prefix in _PREFIXES:
        if module.startswith(prefix):
            module = module[len(prefix) :]
            break
    for family in families:
        for prefix in (*family.prefixes, ""):
            if module.startswith(prefix):
                name = gguf_name(f"{module[len(prefix) :]}.weight", family.names, family.block_names, n_block)
                if name is not None:
                    return name
    return None


def _oriented(module: str, pair: _Pair, shape: tuple[int, ...]) -> tuple[Lazy, Lazy]:
    """Both matrices, checked against the weight they change, whose shape is given fastest dimension first."""
    if pair.keys() != {"a", "b"}:
        raise ConversionError(f'one of the two matrices of "{module[:200]}" is missing')
    a, b = pair["a"], pair["b"]
    rank = a.shape[0]
    if len(shape) != 2 or a.shape != (rank, shape[0]) or b.shape != (shape[1], rank):
        raise ConversionError(
            f'the matrices of "{module[:200]}", {list(a.shape)} and {list(b.shape)}, '
            f"do not fit the base model's {list(shape[::-1])}"
        )
    return a, b


def _transposed(values: Lazy) -> Lazy:
    return values.rearranged(values.shape[::-1], np.transpose)
