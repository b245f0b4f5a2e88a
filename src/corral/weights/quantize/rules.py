"""The type of each tensor of a model: llama.cpp's mixes as tables and one short rule per role.

A mix gives more bits to the tensors that suffer most (values, down projections, some layers, the output). The rules
depend on the architecture, the number of experts, the ratio of heads to key-value heads, and the order of tensors.
Source: llama.cpp src/llama-quant.cpp (tensor_allows_quantization, llama_tensor_get_type_impl).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corral.errors import QuantizeError
from corral.weights.gguf import GGUFArray, GGUFFile, TensorInfo
from corral.weights.gguf.names import TENSOR_TYPE_NUMBERS, TENSOR_TYPES
from corral.weights.quantize.file_types import FILE_TYPES, FLOAT_TYPES

_BLOCK = re.compile(r"blk\.(\d+)\.")
_EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight")
_OUTPUT = "output.weight"
# The first match in a name determines the role of a tensor.
_ROLES = (
    ("attn_qkv.weight", "qkv"),
    ("attn_kv_b.weight", "kv_b"),
    ("attn_v.weight", "v"),
    ("attn_k.weight", "k"),
    ("attn_q.weight", "q"),
    ("attn_output.weight", "attn_out"),
    ("ffn_up", "up"),
    ("ffn_gate", "gate"),
    ("ffn_down", "down"),
)
_LIKE_VALUES = ("v", "qkv", "kv_b")
# Small or sensitive tensors keep their type: those with any of these in their name.
_KEPT = (
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    *(f"time_mix_{name}.weight" for name in "first w0 w1 w2 v0 v1 v2 a0 a1 a2 g1 g2".split()),
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
)
_KEPT_WHOLE = ("position_embd.weight", "token_types.weight")
_KEPT_GLM5 = (
    "hc_", "indexer.attn_q_b", "indexer.attn_k", "indexer.proj", "indexer_compressor_gate",
    "indexer_compressor_ape", "ssm_f_a.weight", "ssm_f_b.weight", "ssm_g_a.weight", "ssm_g_b.weight",
    "ssm_beta.weight", "attn_kv_a_mqa.weight", "attn_k_b.weight", "attn_v_b.weight",
)  # fmt: skip
_AT_LEAST_Q8_GLM5 = ("attn_q_a", "attn_q_b", "nextn.eh_proj")
# Types for rows that cannot be divided into blocks of the chosen type.
_FALLBACKS = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_0", "Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
_LOWEST = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M")
_NEEDS_IMPORTANCE = ("IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S")
_EMBEDDING_TYPES = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"), "Q2_K"),
    **dict.fromkeys(("IQ2_S", "IQ2_M", "IQ3_XXS"), "IQ3_S"),
    **dict.fromkeys(("TQ1_0", "TQ2_0", "Q2_0"), "Q4_K"),
}
_ATTENTION_OUT = {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}
_ATTENTION_OUT_8_EXPERTS = (
    "Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M", "IQ4_NL", "IQ4_XS",
)  # fmt: skip
# Tensors that Ollama keeps at a higher precision in Q4_K_S and Q4_K_M: architecture -> name pattern -> type.
_MLA_PATTERN = r"attn_(k_b|q_a|q_b|v_b|kv_a_mqa)\.weight"
_KEPT_FINE: dict[str, dict[str, str]] = {
    "qwen35": {r"blk\.\d+\.nextn\.eh_proj\.weight": "Q8_0"},
    "qwen35moe": {r"blk\.\d+\.nextn\.eh_proj\.weight": "Q8_0"},
    "gemma3n": {r"per_layer_token_embd\.weight": "F16"},
    "deepseek2": {_MLA_PATTERN: "Q8_0"},
    "glmocr": {r"token_embd\.weight": "F16", r"output\.weight": "F16"},
    "glm4": {r"token_embd\.weight": "F16", r"output\.weight": "F16"},
}
# Number of layers by which llama.cpp recognises 70B models, which have few key-value heads.
_LAYERS_OF_70B = {"llama": 80, "qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The facts about a model that the rules use. `heads_per_kv_head` is 0 without key-value heads."""

    architecture: str
    n_layers: int
    n_experts: int
    heads_per_kv_head: int
    is_70b: bool

    @classmethod
    def of(cls, gguf: GGUFFile) -> ModelFacts:
        """Raises QuantizeError: the model has no number of blocks."""
        architecture = gguf.architecture
        layers = _number(gguf.get_arch("block_count"))
        if architecture != "clip" and layers <= 0:
            raise QuantizeError(f"metadata has no {architecture}.block_count")
        heads = _number(gguf.get_arch("attention.head_count"))
        kv_heads = _number(gguf.get_arch("attention.head_count_kv", heads))
        experts = _number(gguf.get_arch("expert_count"))
        if architecture.startswith("hunyuan-") and experts <= 1:
            experts = 0
        own_layers = layers - _number(gguf.get_arch("nextn_predict_layers"))
        is_70b = own_layers == _LAYERS_OF_70B.get(architecture, -1)
        if architecture == "llama":
            is_70b = is_70b and experts != 8 and heads != kv_heads
        return cls(architecture, layers, experts, heads // kv_heads if kv_heads else 0, is_70b)


def _number(value: Any) -> int:
    """A number of the metadata; the first one if there is one per layer; 0 if it is missing."""
    if isinstance(value, GGUFArray):
        value = next(iter(value.values()), 0)
    return value if isinstance(value, int) else 0


def _rank(tensor: TensorInfo) -> int:
    """The number of dimensions without trailing ones, as ggml counts them."""
    return max((i + 1 for i, length in enumerate(tensor.shape) if length > 1), default=1)


def is_quantizable(architecture: str, tensor: TensorInfo) -> bool:
    """Whether a tensor may be quantised at all."""
    name = tensor.name
    if _rank(tensor) < 2 or not name.endswith("weight") or name in _KEPT_WHOLE:
        return False
    kept = _KEPT + (_KEPT_GLM5 if architecture == "glm5-next" else ())
    return not any(part in name for part in kept)


def needs_importance(name: str, type_name: str, file_type: str) -> bool:
    """Whether a type ruins a tensor without an importance matrix."""
    if name in _EMBEDDINGS or name == _OUTPUT:
        return False
    return type_name in _NEEDS_IMPORTANCE or (type_name == "Q2_K" and file_type == "Q2_K_S")


def _role(name: str) -> str:
    if name == _OUTPUT:
        return "output"
    if name in _EMBEDDINGS:
        return "embedding"
    return next((role for part, role in _ROLES if part in name), "other")


def _block_elements(type_name: str) -> int:
    return TENSOR_TYPES[TENSOR_TYPE_NUMBERS[type_name]].block_elements


class TypeChooser:
    """Chooses types for the tensors of one model.

    Call it in llama.cpp's order, once per tensor: the rules count the previous tensors of each role.
    """

    def __init__(
        self,
        facts: ModelFacts,
        file_type: str,
        names: Sequence[str],
        *,
        has_imatrix: bool,
        tensor_types: Mapping[str, str] | None = None,
    ) -> None:
        self._facts = facts
        self._file_type = file_type
        self._default = FILE_TYPES[file_type]
        self._has_imatrix = has_imatrix
        roles = [_role(name) for name in names]
        self._n_values = sum(role in _LIKE_VALUES for role in roles)
        self._is_tied = "output" not in roles
        self._seen = dict.fromkeys(("values", "down"), 0)
        if tensor_types is None:
            fine = _KEPT_FINE.get(facts.architecture, {}) if file_type in ("Q4_K_S", "Q4_K_M") else {}
            tensor_types = fine
        self._named = [(re.compile(pattern), kind) for pattern, kind in tensor_types.items()]

    def choose(self, tensor: TensorInfo) -> str:
        """The type of the next tensor.

        Raises:
            QuantizeError: no type fits the length of its rows.
        """
        if not is_quantizable(self._facts.architecture, tensor):
            return tensor.type_name
        if self._default in FLOAT_TYPES:
            return self._default
        named = next((kind for pattern, kind in self._named if pattern.search(tensor.name)), None)
        return _fitting(tensor, named or self._mixed(tensor))

    def _mixed(self, tensor: TensorInfo) -> str:
        facts, file_type, role = self._facts, self._file_type, _role(tensor.name)
        if (
            facts.architecture == "glm5-next"
            and self._default not in FLOAT_TYPES
            and any(part in tensor.name for part in _AT_LEAST_Q8_GLM5)
        ):
            return "Q8_0"
        if role == "output" or (role == "embedding" and self._is_tied):
            return self._output_type(tensor)
        if file_type == "MXFP4_MOE":
            return self._mxfp4_type(tensor, role)
        if role == "embedding":
            return _EMBEDDING_TYPES.get(file_type, self._default)
        if file_type in _LOWEST:
            return self._lowest_type(role)
        if role in _LIKE_VALUES:
            return self._values_type()
        if role in ("k", "q"):
            return self._query_key_type(role)
        if role == "down":
            return self._down_type(tensor)
        if role == "attn_out":
            return self._attention_out_type()
        if role in ("gate", "up"):
            return self._gate_up_type(tensor, role)
        return self._default

    def _output_type(self, tensor: TensorInfo) -> str:
        if (
            self._file_type == "MXFP4_MOE"
            or self._facts.architecture == "falcon"
            or tensor.shape[0] % _block_elements(self._default)
        ):
            return "Q8_0"
        if self._file_type in (*_LOWEST, "IQ3_XXS"):
            return "Q5_K"
        return "Q8_0" if self._default == "Q8_0" else "Q6_K"

    def _mxfp4_type(self, tensor: TensorInfo, role: str) -> str:
        """Only experts get it; in one architecture projections have three dimensions too."""
        is_expert = len(tensor.shape) > 2 and tensor.shape[2] > 1
        if self._facts.architecture == "bailingmoe3":
            is_expert = is_expert and role in ("up", "gate", "down")
        return "MXFP4" if is_expert else "Q8_0"

    def _lowest_type(self, role: str) -> str:
        facts, file_type = self._facts, self._file_type
        raised = "IQ3_S" if file_type in ("IQ2_S", "IQ2_M") else "Q2_K"
        if role in _LIKE_VALUES:
            return "Q4_K" if facts.heads_per_kv_head >= 4 or facts.n_experts >= 4 else raised
        if role == "k" and facts.n_experts == 8:
            return "Q4_K"
        if role == "down":
            index = self._count("down")
            return raised if index < facts.n_layers // 8 else self._default
        if role == "attn_out":
            if facts.n_experts == 8:
                return "Q5_K"
            if file_type in ("IQ1_S", "IQ1_M"):
                return "IQ2_XXS"
            return "IQ3_S" if file_type in ("IQ2_S", "IQ2_M") else self._default
        return self._default

    def _values_type(self) -> str:
        facts, file_type = self._facts, self._file_type
        index = self._count("values")
        few_kv_heads = facts.heads_per_kv_head >= 4
        kind = self._default
        if file_type == "Q2_K":
            kind = "Q4_K" if few_kv_heads else "Q3_K"
        elif file_type == "IQ3_XXS":
            kind = "Q4_K" if few_kv_heads else "IQ3_XXS" if self._has_imatrix else "IQ3_S"
        elif (file_type in ("Q2_K_S", "IQ3_XS", "IQ3_S") and few_kv_heads) or file_type == "IQ3_M":
            kind = "Q4_K"
        elif file_type == "Q3_K_M":
            kind = "Q5_K" if index < 2 else "Q4_K"
        elif file_type == "Q3_K_L" or (file_type in ("IQ4_NL", "IQ4_XS") and few_kv_heads):
            kind = "Q5_K"
        elif file_type in ("Q4_K_M", "Q5_K_M") and _has_more_bits(index, self._n_values):
            kind = "Q6_K"
        elif file_type == "Q4_K_S" and index < 4:
            kind = "Q5_K"
        if facts.is_70b and kind in ("Q3_K", "Q4_K"):
            kind = "Q5_K"
        return "Q8_0" if facts.n_experts == 8 else kind

    def _query_key_type(self, role: str) -> str:
        if role == "k" and self._facts.n_experts == 8:
            return "Q8_0"
        return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(self._file_type, self._default)

    def _down_type(self, tensor: TensorInfo) -> str:
        facts, file_type = self._facts, self._file_type
        layers = facts.n_layers
        layer = self._layer(tensor, self._count("down"))
        is_early, is_falcon = layer < layers // 8, facts.architecture == "falcon"
        has_more = _has_more_bits(layer, layers)
        kind = self._default
        if file_type == "Q2_K":
            kind = "Q3_K"
        elif file_type == "IQ3_XXS" and not self._has_imatrix:
            kind = "Q4_K" if is_early else "Q3_K"
        elif file_type == "Q3_K_M":
            kind = "Q5_K" if layer < layers // 16 else "Q4_K" if not is_falcon or has_more else "Q3_K"
        elif file_type == "Q3_K_L":
            kind = "Q4_K" if is_falcon else "Q5_K"
        elif file_type == "Q4_K_M" and is_falcon:
            kind = "Q6_K" if layer < layers // 16 else "Q5_K" if has_more else "Q4_K"
        elif file_type in ("Q4_K_M", "Q5_K_M"):
            kind = "Q6_K" if has_more else self._default
        elif file_type == "IQ3_M":
            kind = "Q4_K" if is_early or (facts.n_experts == 8 and has_more) else self._default
        elif is_early:
            kind = self._early_down_type(is_falcon=is_falcon)
        return kind

    def _early_down_type(self, *, is_falcon: bool) -> str:
        """The first eighth of the layers, for the types that treat it specially."""
        file_type = self._file_type
        if file_type == "Q2_K_S":
            return "Q4_K"
        if file_type in ("IQ4_NL", "IQ4_XS") and not self._has_imatrix:
            return "Q5_K"
        if file_type == "Q4_K_S" and not is_falcon:
            return "Q5_K"
        if file_type in ("Q4_0", "Q5_0") and self._has_imatrix:
            return "Q4_1" if file_type == "Q4_0" else "Q5_1"
        return self._default

    def _attention_out_type(self) -> str:
        file_type = self._file_type
        if self._facts.architecture == "falcon":
            return "Q4_K" if file_type == "Q3_K_L" else self._default
        if self._facts.n_experts == 8:
            return "Q5_K" if file_type in _ATTENTION_OUT_8_EXPERTS else self._default
        return _ATTENTION_OUT.get(file_type, self._default)

    def _gate_up_type(self, tensor: TensorInfo, role: str) -> str:
        layers = self._facts.n_layers
        layer = self._layer(tensor, self._count(role))
        is_middle = layers // 8 <= layer < 7 * layers // 8
        return "IQ3_XXS" if self._file_type == "IQ3_XS" and is_middle else self._default

    def _count(self, role: str) -> int:
        """The number of previous tensors of a role."""
        index = self._seen.get(role, 0)
        self._seen[role] = index + 1
        return index

    def _layer(self, tensor: TensorInfo, index: int) -> int:
        """The layer of a tensor; without experts the number of previous ones."""
        if self._facts.n_experts <= 1:
            return index
        match = _BLOCK.match(tensor.name)
        if match is None or int(match[1]) >= self._facts.n_layers:
            raise QuantizeError(
                f"cannot determine the layer of tensor {tensor.name} of {self._facts.n_layers} layers"
            )
        return int(match[1])


def _has_more_bits(layer: int, layers: int) -> bool:
    """The first and last eighth, and every third in between."""
    eighth = layers // 8
    # C's remainder has the sign of the dividend, but layers before the first eighth are handled first.
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _fitting(tensor: TensorInfo, kind: str) -> str:
    """The type, or its fallback if rows of this length do not fit."""
    columns = tensor.shape[0]
    if columns % _block_elements(kind) == 0:
        return kind
    fallback = _FALLBACKS.get(kind, kind)
    if fallback == kind and _block_elements(kind) > 32:
        raise QuantizeError(
            f"tensor {tensor.name} has rows of {columns} weights, which type {kind} cannot hold and no other replaces"
        )
    return fallback if columns % _block_elements(fallback) == 0 else "F16"
