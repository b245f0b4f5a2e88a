"""Conversion of a Llama with random weights against `cp` of the same bytes, alternately on the same disk.

Usage: python -m bench.bench_convert [--megabytes 800] [--runs 3] [--folder DIR]
Prints MB/s of source bytes for BF16 (kept), F16 (kept) and F32 (halved) weights, the share of `cp`'s speed, and
the peak memory of the converting process beside twice its largest tensor plus 300 MB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from corral.weights.convert.families.decoder import BLOCK_NAMES

_WIDTH, _FF, _HEADS, _VOCAB = 2048, 5632, 16, 32_000
_CHILD = """
import resource, sys, time
from pathlib import Path
from corral.weights.convert import convert_model
folder, target = Path(sys.argv[1]), Path(sys.argv[2])
files = {path.name: path for path in folder.iterdir()}
start = time.perf_counter()
convert_model(files, target)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def _shape(name: str) -> tuple[int, ...]:
    if "norm" in name:
        return (_WIDTH,)
    if "down_proj" in name:
        return (_WIDTH, _FF)
    return (_FF if "gate" in name or "up" in name else _WIDTH, _WIDTH)


def _write_model(folder: Path, type_name: str, size_bytes: int, megabytes: int) -> tuple[int, int]:
    """Write a folder of about the size asked for; bytes of weights, bytes of the largest tensor."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (_VOCAB, _WIDTH),
        "model.norm.weight": (_WIDTH,),
    }
    n_block = 0
    while sum(int(np.prod(s)) for s in shapes.values()) * size_bytes < megabytes * 1e6:
        for name in BLOCK_NAMES:
            if not name.endswith(("q_norm", "k_norm")):
                shapes[f"model.layers.{n_block}.{name}.weight"] = _shape(name)
        n_block += 1
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": _WIDTH,
        "intermediate_size": _FF,
        "num_hidden_layers": n_block,
        "num_attention_heads": _HEADS,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    vocab = {f"t{number}": number for number in range(_VOCAB)}
    tokenizer = {
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + int(np.prod(shape)) * size_bytes
        header[name] = {"dtype": type_name, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    # Small numbers of the type, so that no run meets denormals or infinities.
    block = np.random.default_rng(1).normal(size=2**20).astype(np.float32)
    if type_name == "BF16":
        data = (block.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    else:
        data = block.astype(np.float16 if type_name == "F16" else np.float32).tobytes()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for position in range(0, end, len(data)):
            file.write(data[: end - position])
    return end, max(int(np.prod(shape)) for shape in shapes.values()) * size_bytes


def _copy_s(source: Path, target: Path) -> float:
    start = time.perf_counter()
    subprocess.run(["cp", "--reflink=never", source, target], check=True)
    return time.perf_counter() - start


def _convert(folder: Path, target: Path) -> tuple[float, int]:
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, folder, target], check=True, capture_output=True, text=True
    )
    seconds, peak_bytes = child.stdout.split()
    return float(seconds), int(peak_bytes)


def _measure(folder: Path, type_name: str, size_bytes: int, megabytes: int, runs: int) -> None:
    model = folder / type_name
    model.mkdir()
    weights_bytes, largest_bytes = _write_model(model, type_name, size_bytes, megabytes)
    copies, conversions, peak_bytes = [], [], 0
    target = folder / "target"
    for _ in range(runs + 1):
        copies.append(_copy_s(model / "model.safetensors", target))
        target.unlink()
        seconds, peak = _convert(model, target)
        conversions.append(seconds)
        peak_bytes = max(peak_bytes, peak)
        target.unlink()
    # The first of each only brings the source into memory.
    speed = weights_bytes / 1e6 / statistics.median(conversions[1:])
    copy_speed = weights_bytes / 1e6 / statistics.median(copies[1:])
    limit_bytes = 2 * largest_bytes + 300_000_000
    print(
        f"{type_name}: {speed:.0f} MB/s, cp {copy_speed:.0f} MB/s, share {speed / copy_speed:.2f}; "
        f"peak {peak_bytes / 1e6:.0f} MB (limit {limit_bytes / 1e6:.0f} MB)",
        flush=True,
    )
    Path(model / "model.safetensors").unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--megabytes", type=int, default=800)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", help="where to write; the system's temporary folder otherwise")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for type_name, size_bytes in (("BF16", 2), ("F16", 2), ("F32", 4)):
            _measure(Path(folder), type_name, size_bytes, options.megabytes, options.runs)


if __name__ == "__main__":
    main()
