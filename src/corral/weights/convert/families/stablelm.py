"""StableLM: layer norms with biases, partially rotated heads, and in version 2 a norm per head."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from corral.errors import ConversionError
from corral.weights.convert.families.decoder import BLOCK_NAMES, Decoder
from corral.weights.convert.lazy import Lazy
from corral.weights.convert.output import Output
from corral.weights.convert.weights import Weights

_HEAD_NORM = re.compile(r"(layers\.\d+\.self_attn\.[qk]_layernorm)\.norms\.(\d{1,4})\.weight")


class StableLm(Decoder):
    gguf_arch = "stablelm"
    uses_layer_norm = True
    needs_output = True
    default_eps = 1e-5
    block_names: ClassVar[Mapping[str, str]] = {
        **BLOCK_NAMES,
        "self_attn.q_layernorm": "attn_q_norm",
        "self_attn.k_layernorm": "attn_k_norm",
    }

    def metadata(self, out: Output) -> None:
        super().metadata(out)
        out.set(".use_parallel_residual", self.config.boolean("use_parallel_residual", default=True))

    def gathered(self, weights: Weights) -> Iterator[tuple[str, Lazy]]:
        """The norms of the heads are joined to one tensor."""
        heads: dict[str, dict[int, Lazy]] = {}
        for name, values in super().gathered(weights):
            if match := _HEAD_NORM.fullmatch(name):
                heads.setdefault(match[1], {})[int(match[2])] = values
            else:
                yield name, values
        for stem, by_number in heads.items():
            numbers = sorted(by_number)
            if numbers != list(range(len(numbers))) or len({by_number[n].shape for n in numbers}) != 1:
                raise ConversionError(f'tensors "{stem}.norms": one of one shape for each head is expected')
            yield f"{stem}.weight", Lazy.stacked([by_number[number] for number in numbers])

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        norms = {
            "blk.attn_q_norm.weight": (self.n_head, self.head_dim),
            "blk.attn_k_norm.weight": (self.n_head_kv, self.head_dim),
        }
        return {**super().shapes(), **norms}

    def required(self) -> Iterable[str]:
        yield from super().required()
        yield "output_norm.bias"
