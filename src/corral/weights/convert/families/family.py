"""The base of all families: a table of names, the usual metadata, shapes checked against the configuration.

A family overrides what is different: `names` and `block_names` for its tensors, `rename` for those that are dropped
or have several spellings, `change` for values, `metadata` for its own keys, `extra` for tensors that the source does
not have.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from corral.errors import ConversionError
from corral.weights.convert.checkpoint import Checkpoint
from corral.weights.convert.config import Config
from corral.weights.convert.lazy import Lazy
from corral.weights.convert.output import Output
from corral.weights.convert.weights import Weights

_MAX_BLOCKS = 1024
_MAX_EXPERTS = 4096
_BLOCK = re.compile(r"(?:layers|encoder\.layers?)\.(?P<number>\d{1,4})\.(?P<rest>.+)")
_EXPERT = re.compile(r"(?P<stem>.+\.experts)\.(?P<number>\d{1,4})\.(?P<rest>.+)")
# Buffers in older files; the engine computes them.
_BUFFERS = (".rotary_emb.inv_freq", ".position_ids", ".attention.bias", ".masked_bias")


def gguf_name(
    source: str, names: Mapping[str, str], block_names: Mapping[str, str], n_block: int
) -> str | None:
    """GGUF's name for a tensor, with the suffix of the source; None if it is not in the tables."""
    match = _BLOCK.fullmatch(source)
    prefix, rest, table = "", source, names
    if match is not None and int(match["number"]) < n_block:
        prefix, rest, table = f"blk.{int(match['number'])}.", match["rest"], block_names
    stem, _dot, ending = rest.rpartition(".")
    if ending in ("weight", "bias") and stem in table:
        return f"{prefix}{table[stem]}.{ending}"
    # Packed experts have no suffix.
    return f"{prefix}{table[rest]}.weight" if rest in table else None


class Family(ABC):
    """Converts one checkpoint. `gguf_arch` is GGUF's name of the architecture."""

    gguf_arch: ClassVar[str]
    # Names of this family without `.weight` and `.bias`, and GGUF's for them: outside and inside blocks.
    names: ClassVar[Mapping[str, str]]
    block_names: ClassVar[Mapping[str, str]]
    # Prefixes of tensor names in classes with a head, longest first.
    prefixes: ClassVar[tuple[str, ...]] = ("model.",)
    # Whether the engine needs `output.weight` even if it equals the embedding.
    needs_output: ClassVar[bool] = False

    def __init__(self, checkpoint: Checkpoint, config: Config, architecture: str) -> None:
        self.checkpoint = checkpoint
        self.config = config
        self.hf_architecture = architecture
        self.n_block = config.integer("num_hidden_layers", "n_layers", "n_layer")
        if self.n_block > _MAX_BLOCKS:
            raise ConversionError(f"config.json: {self.n_block} layers are more than any model has")
        self.n_embd = config.integer("hidden_size", "n_embd")
        self.n_head = config.integer("num_attention_heads", "n_head")
        self.n_head_kv = config.integer("num_key_value_heads", "n_kv_heads", default=self.n_head)
        self.n_expert = config.integer("num_local_experts", "num_experts", default=0, minimum=0)
        if self.n_expert > _MAX_EXPERTS:
            raise ConversionError(f"config.json: {self.n_expert} experts are more than any model has")

    @property
    def n_vocab_config(self) -> int | None:
        return self.config.optional_integer("vocab_size")

    # What families override

    @abstractmethod
    def metadata(self, out: Output) -> None:
        """Write the architecture's keys."""

    def rename(self, name: str) -> str | None:
        """The name to look up in the tables; None drops the tensor."""
        return name

    def change(self, name: str, values: Lazy) -> Iterable[tuple[str, Lazy]]:
        """Change a tensor's values, by its GGUF name."""
        yield name, values

    def extra(self) -> Iterator[tuple[str, Lazy]]:
        """Additional tensors, computed from the configuration."""
        yield from ()

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Expected shapes in PyTorch's order, by GGUF name; blocks by `blk.` and the rest after the number."""
        return {}

    def required(self) -> Iterable[str]:
        """Names (as in `shapes`) of tensors that the engine requires."""
        return ("token_embd.weight",)

    # Shared work

    def convert(self, out: Output, weights: Weights) -> None:
        """Add all tensors.

        Raises:
            ConversionError: a tensor that does not belong to the architecture, is missing, or has another shape.
        """
        for source, values in self.gathered(weights):
            target = gguf_name(source, self.names, self.block_names, self.n_block)
            if target is None:
                raise ConversionError(f'tensor "{source[:200]}" does not belong to {self.hf_architecture}')
            for name, changed in self.change(target, values):
                out.add(name, changed)
        for name, values in self.extra():
            out.add(name, values)
        if self.needs_output and "output.weight" not in out.tensors and "token_embd.weight" in out.tensors:
            out.add("output.weight", out.tensors["token_embd.weight"].values)
        self._check(out)

    def gathered(self, weights: Weights) -> Iterator[tuple[str, Lazy]]:
        """Source tensors by the names to look up, with experts stacked."""
        experts: dict[tuple[str, str], dict[int, Lazy]] = {}
        for original in weights.names():
            name = self._without_prefix(original)
            if name.endswith(_BUFFERS):
                continue
            renamed = self.rename(name)
            if renamed is None:
                continue
            values = weights.lazy(original)
            if match := _EXPERT.fullmatch(renamed):
                experts.setdefault((match["stem"], match["rest"]), {})[int(match["number"])] = values
            else:
                yield renamed, values
        for (stem, rest), by_number in experts.items():
            yield f"{stem}.{rest}", self._stack(f"{stem}.*.{rest}", by_number)

    def _without_prefix(self, name: str) -> str:
        for prefix in self.prefixes:
            if name.startswith(prefix):
                return name[len(prefix) :]
        return name

    def _stack(self, what: str, by_number: Mapping[int, Lazy]) -> Lazy:
        if sorted(by_number) != list(range(self.n_expert)):
            raise ConversionError(f'tensors "{what}": {self.n_expert} experts are expected')
        tensors = [by_number[number] for number in range(self.n_expert)]
        if len({(tensor.shape, tensor.dtype) for tensor in tensors}) != 1:
            raise ConversionError(f'tensors "{what}": the experts differ in shape or type')
        return Lazy.stacked(tensors)

    def _check(self, out: Output) -> None:
        shapes = self.shapes()
        for name, tensor in out.tensors.items():
            parts = name.split(".", 2)
            general = f"blk.{parts[2]}" if parts[0] == "blk" else name
            expected = shapes.get(general)
            if expected is not None and tensor.values.shape != expected:
                raise ConversionError(
                    f'tensor "{name}" has the shape {list(tensor.values.shape)}, '
                    f"but config.json makes it {list(expected)}"
                )
        for general in self.required():
            for name in self._every(general):
                if name not in out.tensors:
                    raise ConversionError(f'tensor "{name}" is missing for {self.hf_architecture}')

    def _every(self, general: str) -> Iterator[str]:
        if not general.startswith("blk."):
            yield general
            return
        for block in range(self.n_block):
            yield f"blk.{block}.{general[4:]}"
