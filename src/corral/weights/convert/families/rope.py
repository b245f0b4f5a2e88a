"""Rotary positions, as set by transformers 4 (`rope_theta`, `rope_scaling`) and 5 (`rope_parameters`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from corral.errors import ConversionError
from corral.weights.convert.config import Config
from corral.weights.convert.output import Output

# Kinds that have no effect within the training length.
_PLAIN = ("default", "none", "dynamic", "mrope")


@dataclass(frozen=True, slots=True)
class Rope:
    """`theta` is the base frequency, `partial_factor` the rotated share of a head."""

    theta: float
    kind: str
    section: Config
    partial_factor: float

    @classmethod
    def of(cls, config: Config, default_theta: float) -> Rope:
        """The settings of a model; if there are several kinds of layers, those of layers with full attention.

        Raises:
            ConversionError: a scaling that the engine does not support.
        """
        section = config.section("rope_parameters") or config.section("rope_scaling") or Config({})
        section = section.section("full_attention") or section
        theta = section.number("rope_theta", default=config.number("rope_theta", default=default_theta))
        kind = section.text("rope_type", "type", default="default")
        kind = "longrope" if kind == "su" else kind
        if kind not in (*_PLAIN, "linear", "yarn", "llama3", "longrope"):
            raise ConversionError(f"config.json: the rope scaling {kind[:60]!r} is not supported")
        partial = section.number("partial_rotary_factor", default=0.0) or config.number(
            "partial_rotary_factor", "rope_pct", "rotary_pct", default=1.0
        )
        if not 0 < partial <= 1 or theta <= 0:
            raise ConversionError("config.json: the rope settings are out of range")
        return cls(theta, kind, section, partial)

    @classmethod
    def local_theta(cls, config: Config, name: str, default: float) -> float:
        """The base of layers with a sliding window: a separate setting, or a section."""
        section = config.section("rope_parameters")
        local = section.section("sliding_attention") if section is not None else None
        if local is not None and local.has("rope_theta"):
            default = local.number("rope_theta")
        return config.number(name, default=default)

    def write(self, out: Output) -> None:
        """Write base frequency and scaling. Factors per frequency are tensors, which are written elsewhere."""
        out.set_float(".rope.freq_base", self.theta)
        section = self.section
        if self.kind == "linear":
            out.set(".rope.scaling.type", "linear")
            out.set_float(".rope.scaling.factor", section.number("factor"))
        elif self.kind == "yarn":
            out.set(".rope.scaling.type", "yarn")
            out.set_float(".rope.scaling.factor", section.number("factor"))
            if section.has("original_max_position_embeddings"):
                out.set_int(
                    ".rope.scaling.original_context_length",
                    section.integer("original_max_position_embeddings"),
                )
            for name, key in (
                ("attention_factor", "yarn_attn_factor"),
                ("beta_fast", "yarn_beta_fast"),
                ("beta_slow", "yarn_beta_slow"),
            ):
                if section.has(name):
                    out.set_float(f".rope.scaling.{key}", section.number(name))
        elif self.kind == "longrope":
            out.set(".rope.scaling.type", "longrope")


def llama3_factors(rope: Rope, n_dim: int) -> list[float]:
    """The factor by which each frequency of Llama 3.1 and later is divided (transformers: modeling_rope_utils.py)."""
    factor = rope.section.number("factor", default=8.0)
    low = rope.section.number("low_freq_factor", default=1.0)
    high = rope.section.number("high_freq_factor", default=4.0)
    original = rope.section.integer("original_max_position_embeddings", default=8192)
    if factor <= 0 or not 0 < low < high:
        raise ConversionError("config.json: the rope factors are out of range")
    factors = []
    for pair in range(n_dim // 2):
        wavelength = 2 * math.pi * rope.theta ** (2 * pair / n_dim)
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors
