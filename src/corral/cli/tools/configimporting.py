"""`corral config import`: the configuration of llama-swap, or llama-server's presets, as ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from corral.cli.frame.flags import PROGRAM, Arguments, UsageError
from corral.cli.http.address import reach_server
from corral.cli.models.model_from_file import shown
from corral.cli.terminal.screen import safe
from corral.configfile.reading import problems_of
from corral.configimport.imported import Imported, ImportFileError
from corral.configimport.llamaswap import read_llama_swap
from corral.configimport.presets import MAX_BYTES, read_presets
from corral.configimport.tomltext import modelfile, toml_text
from corral.disk import write_atomically, write_new
from corral.errors import CorralError

_FORMATS = ("llama-swap", "presets")
_PRIVATE = 0o600


def import_config(words: list[str], arguments: Arguments) -> int:
    """Print the file, or write it, and create the models if that is asked for.

    Raises:
        UsageError, CorralError, NoServerError
    """
    if len(words) != 1:
        raise UsageError(f"usage: {PROGRAM} config import FILE [--output FILE [--force]] [--create]")
    source, output = words[0], arguments.get("output")
    if output and Path(output).exists() and not arguments.has("force"):
        raise CorralError(f"{output} already exists", hint="--force replaces it")
    found = _read(source, _format(source, arguments))
    text = toml_text(found, "standard input" if source == "-" else source, PROGRAM)
    place = Path(output or "config.toml")
    for problem in problems_of(place, text, os.environ):
        print(f"warning: {safe(str(problem))}", file=sys.stderr)
    status = _create(found) if arguments.has("create") else 0
    if output:
        _write(place, text, may_replace=arguments.has("force"))
    else:
        sys.stdout.write(text)
    print(_summary(found, has_created=arguments.has("create")), file=sys.stderr)
    return status


def _format(source: str, arguments: Arguments) -> str:
    """Raises UsageError."""
    named = arguments.get("from")
    if named and named not in _FORMATS:
        raise UsageError(f"cannot import from '{named}', use one of {', '.join(_FORMATS)}")
    return named or ("presets" if Path(source).suffix.lower() == ".ini" else "llama-swap")


def _read(source: str, kind: str) -> Imported:
    """Raises CorralError."""
    folder = Path.cwd() if source == "-" else Path(source).absolute().parent
    try:
        with sys.stdin.buffer if source == "-" else Path(source).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode().removeprefix("\ufeff")
        return read_presets(text, folder) if kind == "presets" else read_llama_swap(text, folder, os.environ)
    except OSError as exc:
        raise CorralError(f"{source}: {(exc.strerror or type(exc).__name__).lower()}") from None
    except UnicodeDecodeError:
        raise CorralError(f"{source} is not UTF-8") from None
    except ImportFileError as exc:
        raise CorralError(
            f"{source}: {exc}", hint="--from says whose file it is, if its name does not"
        ) from None


def _create(found: Imported) -> int:
    """Create the models that do not exist; one that fails does not keep the others from it. Raises NoServerError."""
    client = reach_server()
    status = 0
    for model in found.models:
        if shown(client, model.name) is not None:
            print(safe(f"{model.name}: exists already, and stays as it is"), file=sys.stderr)
            continue
        print(safe(f"{model.name}:"), file=sys.stderr)
        command = [sys.executable, "-m", "corral.cli.main", "create", model.name, "-f", "-"]
        done = subprocess.run(command, input=modelfile(model), text=True, stdout=sys.stderr, check=False)
        status = status or done.returncode
    return status


def _write(place: Path, text: str, *, may_replace: bool) -> None:
    """Raises CorralError."""
    try:
        place.parent.stat()  # a folder that is missing was mistyped
        if may_replace:
            write_atomically(place.resolve(), text.encode(), mode=_PRIVATE)
            return
        write_new(place, text.encode(), mode=_PRIVATE)
    except OSError as exc:
        raise CorralError(f"{place}: {(exc.strerror or type(exc).__name__).lower()}") from None


def _summary(found: Imported, *, has_created: bool) -> str:
    notes = len(found.notes) + sum(len(model.notes) for model in found.models)
    notes += sum(len(group.notes) for group in found.groups)
    counts = f"{len(found.models)} models, {len(found.left_out)} left out, {notes} notes in comments"
    return (
        counts if has_created else f"{counts}; the models are created by the commands there, or with --create"
    )
