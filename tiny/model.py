"""The network: a llama (RMSNorm, SwiGLU, RoPE on neighbouring pairs, tied embeddings) in plain torch.

Invariant: weights are laid out as the GGUF llama architecture wants them, so export renames and never permutes.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Llama", "ModelConfig"]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes; `width` is a multiple of 32 so that every row can be quantised as Q8_0."""

    vocab: int = 1024
    width: int = 192
    layers: int = 5
    heads: int = 6
    hidden: int = 512
    context: int = 2048
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for the checkpoint."""
        return asdict(self)


def _rope_tables(config: ModelConfig) -> tuple[Tensor, Tensor]:
    head = config.width // config.heads
    rates = config.rope_base ** (-torch.arange(0, head, 2).float() / head)
    angles = torch.outer(torch.arange(config.context).float(), rates)
    return angles.cos(), angles.sin()


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Block(nn.Module):
    """One layer: attention and SwiGLU, each on a normalised residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.hidden
        self.heads, self.epsilon = config.heads, config.norm_epsilon
        self.attn_norm = nn.Parameter(torch.ones(width))
        self.attn_qkv = nn.Linear(width, 3 * width, bias=False)
        self.attn_output = nn.Linear(width, width, bias=False)
        self.ffn_norm = nn.Parameter(torch.ones(width))
        self.ffn_gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.ffn_down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Map (batch, time, width) to the same shape."""
        batch, time, width = x.shape
        normed = F.rms_norm(x, (width,), self.attn_norm, self.epsilon)
        query, key, value = self.attn_qkv(normed).view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = _rotate(query.float(), cos, sin), _rotate(key.float(), cos, sin), value.float()
        with torch.autocast("cpu", enabled=False):  # attention in bfloat16 is slower on the CPU
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attn_output(mixed.transpose(1, 2).reshape(batch, time, width))
        gate, up = self.ffn_gate_up(F.rms_norm(x, (width,), self.ffn_norm, self.epsilon)).chunk(2, dim=-1)
        out: Tensor = x + self.ffn_down(F.silu(gate) * up)
        return out


class Llama(nn.Module):
    """Token ids to logits."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embd = nn.Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.output_norm = nn.Parameter(torch.ones(config.width))
        cos, sin = _rope_tables(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        nn.init.normal_(self.token_embd.weight, std=0.05)
        for name, weight in self.blocks.named_parameters():
            if weight.ndim == 2:
                is_residual = "attn_output" in name or "ffn_down" in name
                nn.init.normal_(weight, std=0.05 / ((2 * config.layers) ** 0.5 if is_residual else 1.0))

    def hidden_states(self, ids: Tensor) -> Tensor:
        """Return the normalised last states of (batch, time) ids."""
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        x = self.token_embd(ids)
        for block in self.blocks:
            x = block(x, cos, sin)
        return F.rms_norm(x, (self.config.width,), self.output_norm, self.config.norm_epsilon)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the logits of (batch, time) ids."""
        return F.linear(self.hidden_states(ids), self.token_embd.weight)
