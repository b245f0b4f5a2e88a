"""The tensors of a checkpoint as values to convert; FP8 ones are multiplied by their scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from corral.errors import ConversionError
from corral.weights.convert.config import Config
from corral.weights.convert.lazy import Array, DType, Lazy, from_float32, to_float32
from corral.weights.convert.safetensors import StoredTensor

_SCALES = ("_scale", "_scale_inv", ".scale", ".scale_inv")
# Scales of activations and of the KV cache, for other engines.
_OTHER_SCALES = (".input_scale", ".k_scale", ".v_scale", ".activation_scale", ".output_scale")
_STRIP_BYTES = 8 * 2**20


class Weights:
    """Names of tensors, and values on demand. FP8 weights become BF16, as in Ollama (convert/reader.go)."""

    def __init__(self, tensors: Mapping[str, StoredTensor], config: Config) -> None:
        self._tensors = tensors
        self._scales: dict[str, str] = {}
        self._block = _block_size(config)
        for name, stored in tensors.items():
            if stored.type_name == "F8_E4M3":
                scale = _scale_name(name, tensors)
                if scale is None:
                    raise ConversionError(f'missing fp8 scale companion for tensor "{name}"')
                self._scales[name] = scale

    def names(self) -> Iterator[str]:
        """All tensors that hold weights."""
        scales = set(self._scales.values())
        for name in self._tensors:
            if name not in scales and not (scales and name.endswith(_OTHER_SCALES)):
                yield name

    def fp8_names(self) -> list[str]:
        """Tensors that are stored in 8 bits."""
        return sorted(self._scales)

    def lazy(self, name: str) -> Lazy:
        """The values of a tensor.

        Raises:
            ConversionError: a type that cannot be converted.
        """
        stored = self._tensors[name]
        if name not in self._scales:
            return stored.lazy()
        return _scaled(stored, self._tensors[self._scales[name]], self._block)


def _scale_name(weight: str, tensors: Mapping[str, StoredTensor]) -> str | None:
    stems = (weight, weight.removesuffix(".weight"))
    names = (f"{stem}{ending}" for stem in stems for ending in _SCALES)
    return next((name for name in names if name in tensors), None)


def _block_size(config: Config) -> tuple[int, int] | None:
    """The numbers of rows and columns that share a scale, if the configuration contains them.

    Raises:
        ConversionError: the weights are quantised by another method.
    """
    section = config.section("quantization_config")
    if section is None:
        return None
    method = section.text("quant_method", default="")
    if method not in ("fp8", "compressed-tensors"):
        raise ConversionError(
            f"the weights are quantized already ({method[:40] or 'unknown method'}); convert the original model"
        )
    found = {size for size in _block_sizes(section) if size is not None}
    if len(found) > 1:
        shown = " and ".join(f"{rows}x{columns}" for rows, columns in sorted(found))
        raise ConversionError(f"multiple fp8 block sizes in config.json: {shown}")
    return next(iter(found), None)


def _block_sizes(section: Config) -> Iterator[tuple[int, int] | None]:
    yield _pair(section.values.get("weight_block_size"))
    groups = section.section("config_groups")
    for name in groups.values if groups is not None else ():
        assert groups is not None
        group = groups.section(name)
        weights = group.section("weights") if group is not None else None
        if weights is None:
            continue
        if weights.text("type", default="float") != "float" or weights.integer("num_bits", default=8) != 8:
            raise ConversionError("the weights are quantized to integers; convert the original model")
        yield _pair(weights.values.get("block_structure"))


def _pair(value: object) -> tuple[int, int] | None:
    match value:
        case None:
            return None
        case [int(rows), int(columns)] if 0 < rows < 2**20 and 0 < columns < 2**20:
            return rows, columns
        case _:
            raise ConversionError("config.json: the fp8 block size has to be two numbers")


def _scaled(weight: StoredTensor, scale: StoredTensor, block: tuple[int, int] | None) -> Lazy:
    if len(weight.shape) != 2:
        raise ConversionError(f'tensor "{weight.name}": an fp8 weight has to be a matrix')
    rows, columns = weight.shape
    scales = scale.lazy()
    if scales.n_elements == 1:
        step, width = rows, columns
    elif scales.shape in ((rows, 1), (rows,)):
        step, width = 1, columns
    elif block is None:
        raise ConversionError(f'missing fp8 block size metadata for tensor "{weight.name}"')
    else:
        step, width = block
    grid = (-(-rows // step), -(-columns // width))
    if scales.n_elements != grid[0] * grid[1]:
        raise ConversionError(f'unexpected fp8 scale shape {list(scales.shape)} for tensor "{weight.name}"')

    def parts() -> Iterator[Array]:
        factors = to_float32(scales.load(), scales.dtype).reshape(grid)
        by_column = np.repeat(factors, width, axis=1)[:, :columns]
        strip = max(1, _STRIP_BYTES // columns)
        for start in range(0, rows, strip):
            stop = min(rows, start + strip)
            raw = np.frombuffer(weight.read_rows(start, stop), np.uint8).reshape(stop - start, columns)
            values = _E4M3[raw] * by_column[np.arange(start, stop) // step]
            yield from_float32(values, DType.BF16, weight.name)

    return Lazy(weight.shape, DType.BF16, parts)


def _e4m3_values() -> Array:
    """All 256 numbers of 4 exponent and 3 fraction bits; 0x7f and 0xff are NaN, there is no infinity."""
    codes = np.arange(256)
    exponent, fraction = (codes >> 3) & 15, codes & 7
    values = np.where(exponent == 0, fraction / 8 * 2.0**-6, (1 + fraction / 8) * 2.0 ** (exponent - 7.0))
    values[(codes & 127) == 127] = np.nan
    signed: Array = np.where(codes & 128, -values, values).astype(np.float32)
    return signed


_E4M3 = _e4m3_values()
