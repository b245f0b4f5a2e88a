"""Conversion of LoRA adapters: PEFT's safetensors, and MLX's, whose matrices are transposed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corral.errors import ConversionError, GGUFError
from corral.weights.convert.adapter_options import AdapterOptions
from corral.weights.convert.base_weights import base_weights, difference, distance
from corral.weights.convert.checkpoint import Checkpoint
from corral.weights.convert.config import Config
from corral.weights.convert.families.decoder import Decoder
from corral.weights.convert.families.family import gguf_name
from corral.weights.convert.families.known import FAMILIES
from corral.weights.convert.lazy import Array, DType, Lazy
from corral.weights.convert.output import Output
from corral.weights.convert.safetensors import StoredTensor
from corral.weights.gguf import GGUFFile, TensorInfo

_PART = re.compile(r"(?P<module>.+?)\.lora_(?P<kind>embedding_)?(?P<part>[ABab])(?:\.default)?(?:\.weight)?")
_PREFIXES = ("base_model.model.", "base_model.")
_EMBEDDING = "token_embd.weight"
# Suffixes of tensors of LoRA variants, and what they are.
_FOREIGN = (
    (".lora_magnitude_vector", "a DoRA magnitude"),
    (".lora_magnitude_vector.weight", "a DoRA magnitude"),
    (".lora_B.bias", "a bias of the adapter's matrices"),
    (".trainable_tokens_delta", "a change of single rows of the embedding"),
)
# Not needed to use the adapter: PEFT's copy of an embedding that the adapter changes, and a helper of training
# (VeLoRA).
_LEFT_OUT = (".base_layer.weight", ".lora_velora_embed")
# PEFT saves these automatically if the vocabulary might have changed.
_EMBEDDINGS = ("embed_tokens", "lm_head")
# Relative difference of weights that were rounded to 16 bits, with some margin.
_ROUNDED = 2e-3

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
        files: names relative to the adapter's folder, and the path of each file; adapter_config.json is required.
        base: the GGUF file of the model that the adapter was trained on.
        destination: is created or overwritten; after an error it may be incomplete.
        on_progress: takes the bytes written and the total bytes.

    Raises:
        ConversionError: the files cannot be converted, or do not match the base.
        OSError: a file cannot be read or written.
    """
    checkpoint = Checkpoint(files)
    if checkpoint.path("adapter_config.json") is None:
        raise ConversionError("adapter_config.json is missing: the adapter's whole folder is needed")
    options = AdapterOptions(Config(checkpoint.object("adapter_config.json"), "adapter_config.json"))
    try:
        model = GGUFFile.open(base)
    except GGUFError as exc:
        raise ConversionError(f"the base model cannot be read: {exc}") from exc
    pairs, whole = _sorted_out(checkpoint.tensors(is_adapter=True), options)
    target = _Base(model)
    changes = [*_low_rank(pairs, target, options), *_replaced(whole, target)]
    _output_of(changes, target).write(destination, on_progress)


@dataclass(frozen=True, slots=True)
class _Change:
    """The change of one weight: `scale` times B A. The matrices are in the engine's layout."""

    name: str
    a: Lazy
    b: Lazy
    rank: int
    scale: float


class _Base:
    """The model that an adapter changes: names, shapes, and the order of heads."""

    def __init__(self, model: GGUFFile) -> None:
        self.model = model
        self.families = [
            family
            for family in dict.fromkeys(FAMILIES.values())
            if family.gguf_arch == model.architecture and issubclass(family, Decoder)
        ]
        if not self.families:
            raise ConversionError(f'unsupported architecture "{model.architecture}" for an adapter')
        self.heads = _heads(model)
        self.tensors = {tensor.name: tensor for tensor in model.tensors}
        n_block = model.get_arch("block_count")
        self._n_block = n_block if isinstance(n_block, int) else 0

    def find(self, module: str, label: str) -> TensorInfo:
        """The weight of a module. Raises ConversionError: it does not exist, or the engine cannot adapt it."""
        name = _name(module, self.families, self._n_block)
        tensor = self.tensors.get(name or "")
        is_tied = "output.weight" not in self.tensors
        if tensor is None and name == "output.weight" and is_tied:
            raise ConversionError(
                f'"{label}" is changed, but the base model uses its embedding there: merge the adapter into it first'
            )
        if tensor is None:
            raise ConversionError(f'the base model has no weights for "{label}"')
        if len(tensor.shape) != 2:
            raise ConversionError(f'"{label}" is not a matrix, and the engine can only adapt matrices')
        if tensor.name == _EMBEDDING and is_tied:
            raise ConversionError(
                f'"{label}" is changed, but the base model uses it for its output too: '
                "merge the adapter into it first"
            )
        return tensor

    def has_already(self, module: str, new: Lazy) -> bool:
        """Whether the values of a module are the base model's, except for rounding."""
        tensor = self.tensors.get(_name(module, self.families, self._n_block) or "")
        if tensor is None or new.shape != tensor.shape[::-1]:
            return False
        return distance(self.permuted(tensor.name, new), base_weights(self.model, tensor)) < _ROUNDED

    def permuted(self, name: str, rows: Lazy) -> Lazy:
        """Rows of queries and keys in the engine's order."""
        if self.families[0].has_permuted_heads:
            if name.endswith(".attn_q.weight"):
                return rows.permuted(self.heads["head_count"])
            if name.endswith(".attn_k.weight"):
                return rows.permuted(self.heads["head_count_kv"])
        return rows


def _output_of(changes: Sequence[_Change], base: _Base) -> Output:
    """Write metadata and matrices. The engine multiplies by alpha and divides by the rank of the matrices."""
    out = Output(base.model.architecture, only_float32=True)
    out.set("general.type", "adapter")
    out.set("general.version", "v0.2")
    out.set("adapter.type", "lora")
    alpha = _common_alpha([change.scale * change.rank for change in changes])
    out.set_float("adapter.lora.alpha", alpha)
    for kind, count in base.heads.items():
        out.set_int(f".attention.{kind}", count)
    for change in changes:
        factor = change.scale * change.rank / alpha
        out.add(f"{change.name}.lora_a", change.a)
        out.add(f"{change.name}.lora_b", change.b if factor == 1 else _times(change.b, factor))
    return out


def _low_rank(pairs: Mapping[str, _Pair], base: _Base, options: AdapterOptions) -> Iterator[_Change]:
    for module, pair in pairs.items():
        label = module[:200]
        tensor = base.find(module, label)
        a, b = _oriented(label, pair, tensor.shape, is_embedding=tensor.name == _EMBEDDING)
        rank = a.shape[0]
        scale = options.scale(module, rank)
        if tensor.name == _EMBEDDING:
            yield _Change(tensor.name, _transposed(a), b, rank, scale)
        else:
            yield _Change(tensor.name, a, base.permuted(tensor.name, b), rank, scale)


def _replaced(whole: Mapping[str, StoredTensor], base: _Base) -> Iterator[_Change]:
    """Weights that the adapter contains as a whole, as differences to the base's, in matrices of full rank."""
    for module, stored in whole.items():
        label = module[:200]
        if base.has_already(module, stored.lazy()):
            continue
        tensor = base.find(module, label)
        new = stored.lazy()
        if new.shape != tensor.shape[::-1]:
            raise ConversionError(
                f'"{label}" has the shape {list(new.shape)}, the base model\'s is {list(tensor.shape[::-1])}'
            )
        delta = difference(base.permuted(tensor.name, new), base_weights(base.model, tensor))
        inputs = tensor.shape[0]
        if tensor.name == _EMBEDDING:
            yield _Change(tensor.name, delta, _identity(inputs), inputs, 1.0)
        else:
            yield _Change(tensor.name, _identity(inputs), delta, inputs, 1.0)


def _identity(size: int) -> Lazy:
    def parts() -> Iterator[Array]:
        for i in range(size):
            row = np.zeros(size, np.float32)
            row[i] = 1
            yield row

    return Lazy((size, size), DType.F32, parts)


def _common_alpha(wanted: Sequence[float]) -> float:
    """The alpha of most modules, whose matrices are then unchanged. Never 0, which the engine treats as none."""
    counts = Counter(value for value in wanted if value)
    return counts.most_common(1)[0][0] if counts else 1.0


def _times(values: Lazy, factor: float) -> Lazy:
    return values.computed(lambda piece: piece * np.float32(factor))


def _heads(model: GGUFFile) -> dict[str, int]:
    found = {}
    for kind in ("head_count", "head_count_kv"):
        count = model.get_arch(f"attention.{kind}", model.get_arch("attention.head_count"))
        if type(count) is not int or count < 1:
            raise ConversionError(f"the metadata of the base model has no {kind}")
        found[kind] = count
    return found


def _sorted_out(
    tensors: Mapping[str, StoredTensor], options: AdapterOptions
) -> tuple[dict[str, _Pair], dict[str, StoredTensor]]:
    """Matrices by module, and weights stored as a whole. Modules have the base model's names.

    Raises:
        ConversionError: a tensor that is neither.
    """
    pairs: dict[str, _Pair] = {}
    whole = {}
    for name, stored in tensors.items():
        label = name[:200]
        if name.endswith(_LEFT_OUT):
            continue
        match = _PART.fullmatch(name)
        if match is None:
            whole[_saved_module(name, options)] = stored
            continue
        values = stored.lazy()
        if len(values.shape) != 2:
            raise ConversionError(f'tensor "{label}" is not a matrix')
        part = match["part"]
        if part.islower():
            # MLX's matrices are transposed.
            values = _transposed(values)
        pairs.setdefault(_without_prefix(match["module"]), {})[part.lower()] = values
    return pairs, whole


def _saved_module(name: str, options: AdapterOptions) -> str:
    """The module of a weight that was trained as a whole (`modules_to_save`)."""
    label = name[:200]
    for ending, what in _FOREIGN:
        if name.endswith(ending):
            raise ConversionError(f'tensor "{label}" is {what}, which the engine cannot use')
    module, _dot, kind = _without_prefix(name).rpartition(".")
    module = re.sub(r"\.modules_to_save(\.default)?$", "", module)
    if kind == "bias":
        raise ConversionError(f'tensor "{label}": trained biases cannot be stored in an adapter')
    if kind != "weight" or not module.endswith((*options.saved_modules, *_EMBEDDINGS)):
        raise ConversionError(f'tensor "{label}" does not belong to a LoRA adapter')
    return module


def _without_prefix(name: str) -> str:
    return next((name[len(prefix) :] for prefix in _PREFIXES if name.startswith(prefix)), name)


def _name(module: str, families: Sequence[type[Decoder]], n_block: int) -> str | None:
    for family in families:
        for prefix in (*family.prefixes, ""):
            if module.startswith(prefix):
                name = gguf_name(f"{module[len(prefix) :]}.weight", family.names, family.block_names, n_block)
                if name is not None:
                    return name
    return None


def _oriented(label: str, pair: _Pair, shape: tuple[int, ...], *, is_embedding: bool) -> tuple[Lazy, Lazy]:
    """Both matrices, checked against the shape (fastest dimension first) of the weight that they change.

    For an embedding, tokens are the inputs and dimensions the outputs.
    """
    if pair.keys() != {"a", "b"}:
        raise ConversionError(f'one of the two matrices of "{label}" is missing')
    a, b = pair["a"], pair["b"]
    rank = a.shape[0]
    inputs, outputs = shape[::-1] if is_embedding else shape
    if a.shape != (rank, inputs) or b.shape != (outputs, rank):
        raise ConversionError(
            f'the matrices of "{label}", {list(a.shape)} and {list(b.shape)}, '
            f"do not fit the base model's {list(shape[::-1])}"
        )
    return a, b


def _transposed(values: Lazy) -> Lazy:
    return values.rearranged(values.shape[::-1], np.transpose)
