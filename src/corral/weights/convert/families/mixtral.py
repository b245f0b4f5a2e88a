"""Mixtral: Llama with a mixture of experts in place of the feed-forward network."""

from __future__ import annotations

from collections.abc import Iterable

from corral.weights.convert.families.decoder import BLOCK_NAMES, EXPERT_NAMES
from corral.weights.convert.families.llama import Llama
from corral.weights.convert.lazy import Lazy

# w1 is the gate, w2 the down, w3 the up projection.
_PARTS = {"w1.weight": "gate_proj.weight", "w2.weight": "down_proj.weight", "w3.weight": "up_proj.weight"}


class Mixtral(Llama):
    """Experts are separate (`w1`, `w2`, `w3`) or, from transformers 5 on, packed in one tensor."""

    block_names = BLOCK_NAMES | EXPERT_NAMES

    def rename(self, name: str) -> str | None:
        for old, new in _PARTS.items():
            if name.endswith(f".{old}"):
                name = name.removesuffix(old) + new
        return name.replace(".block_sparse_moe.", ".mlp.")

    def change(self, name: str, values: Lazy) -> Iterable[tuple[str, Lazy]]:
        for part, changed in super().change(name, values):
            yield from split_packed_experts(part, changed)


def split_packed_experts(name: str, values: Lazy) -> Iterable[tuple[str, Lazy]]:
    """Split gate and up projections that share one tensor [experts, 2·width, hidden]."""
    if not name.endswith(".ffn_gate_up_exps.weight") or len(values.shape) != 3:
        yield name, values
        return
    n_expert, rows, n_embd = values.shape
    half = rows // 2

    def part(start: int) -> Lazy:
        return values.rearranged((n_expert, half, n_embd), lambda array: array[:, start : start + half])

    yield name.replace("gate_up", "gate"), part(0)
    yield name.replace("gate_up", "up"), part(half)
