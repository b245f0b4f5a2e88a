"""Conversion of a model's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from corral.weights.convert.checkpoint import Checkpoint
from corral.weights.convert.config import Config
from corral.weights.convert.families.known import find_family
from corral.weights.convert.output import Output
from corral.weights.convert.sampling import write_sampling
from corral.weights.convert.tokenizer import load_vocabulary
from corral.weights.convert.weights import Weights


def convert_model(
    files: Mapping[str, Path],
    destination: Path,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    keep_float32: bool = False,
) -> None:
    """Write the GGUF file of a Hugging Face model.

    Args:
        files: names relative to the model's folder, with `/`, and the path of each file.
        destination: is created or overwritten; after an error it may be incomplete.
        on_progress: takes the bytes written and the total bytes.
        keep_float32: matrices in F32 stay F32 (for quantising) instead of becoming F16.

    Raises:
        ConversionError: the files cannot be converted; the text says why.
        OSError: a file cannot be read or written.
    """
    checkpoint = Checkpoint(files)
    config = checkpoint.config()
    architecture, family_class = find_family(config.values.get("architectures"))
    inner = config.section("text_config")
    # Vision models have the settings of the text part in a section, and some of them outside.
    text_config = config if inner is None else Config({**config.values, **inner.values})
    family = family_class(checkpoint, text_config, architecture)
    out = Output(family.gguf_arch, keep_float32=keep_float32)
    out.set("general.type", "model")
    name = config.text("_name_or_path", default="").rstrip("/").rpartition("/")[2]
    if name:
        out.set("general.name", name[:200])
    write_sampling(checkpoint.object("generation_config.json"), out)
    family.metadata(out)
    weights = Weights(checkpoint.tensors(), config)
    family.convert(out, weights)
    if weights.fp8_names():
        out.set(".source_quantization", "hf_fp8")
        out.set_array(".source_fp8_tensors", weights.fp8_names(), "string")
    vocabulary = load_vocabulary(checkpoint, text_config)
    vocabulary.fit(out.tensors["token_embd.weight"].values.shape[0])
    vocabulary.write(out)
    out.write(destination, on_progress)
