"""llama-server's presets (`--models-preset`): a section for each model, options of its command line as keys.

Read as llama.cpp's own reader does (common/preset.cpp): no quotes, no escapes, a value ends at `;` or `#`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from corral.configimport.imported import Imported, ImportedModel, ImportFileError
from corral.configimport.modelnames import ModelNames, drop_taken_aliases
from corral.configimport.optiontable import take
from corral.configimport.optionvalues import OptionValueError, switch
from corral.configimport.serveroptions import ServerOptions, relative_to

MAX_BYTES = 512 << 10
_MAX_SECTIONS = 1000
_HEADER = re.compile(r"\[([^\]]+)\][ \t]*(?:[;#].*)?")
_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*([^;#]*?)[ \t]*(?:[;#].*)?")
_IGNORED = re.compile(r"[ \t]*(?:[;#].*)?")
_ALL = "*"
# What stands before the first section; llama-server makes a model of it, if it names one.
_DEFAULT = "default"
_START = ("load-on-startup", "LLAMA_ARG_LOAD_ON_STARTUP")


def read_presets(text: str, folder: Path) -> Imported:
    """Raises ImportFileError."""
    sections = read_ini(text)
    everywhere = sections.pop(_ALL, {})
    found = Imported("llama-server's presets")
    names = ModelNames()
    preloaded = []
    for asked, own in sections.items():
        values = {**everywhere, **own}
        if asked == _DEFAULT and not _has_source(own):
            found.notes += [
                f"{key} before the first section has no effect" for key in own if key != "version"
            ]
            continue
        if not _has_source(values) and "/" not in asked:
            found.left_out.append((asked, "it names no model file (model) and no repository (hf)"))
            continue
        model = _model(asked, values, names, folder)
        if _starts(values, model):
            preloaded.append(model.name)
        found.models.append(model)
    drop_taken_aliases(found.models)
    if preloaded:
        found.set("scheduler.preload", preloaded)
    return found


def read_ini(text: str) -> dict[str, dict[str, str]]:
    """Sections and their keys, in the order of the file. A section that begins again replaces the first.

    Raises:
        ImportFileError
    """
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise ImportFileError(f"the file is larger than {MAX_BYTES >> 10} KiB")
    sections: dict[str, dict[str, str]] = {}
    current = _DEFAULT
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        if match := _HEADER.fullmatch(line):
            current = match[1].strip()
            sections.pop(current, None)
            sections[current] = {}
        elif match := _PAIR.fullmatch(line):
            sections.setdefault(current, {})[match[1]] = match[2]
        elif not _IGNORED.fullmatch(line):
            raise ImportFileError(f"line {number}: neither a [section], nor key = value, nor a comment")
        if len(sections) > _MAX_SECTIONS:
            raise ImportFileError(f"the file has more than {_MAX_SECTIONS} sections")
    return sections


def _model(asked: str, values: Mapping[str, str], names: ModelNames, folder: Path) -> ImportedModel:
    model = ImportedModel(names.name_for(asked), asked)
    options = ServerOptions(model, relative_to(folder))
    if not _has_source(values) and "/" in asked:
        options.repository = asked  # a section is named after a model in the cache of Hugging Face
    for key, value in values.items():
        if key not in ("version", *_START):
            take(options, key, value)
    options.finish()
    if model.name != asked:
        model.aliases.insert(0, asked)
    return model


def _has_source(values: Mapping[str, str]) -> bool:
    return any(
        key in values
        for key in ("m", "model", "LLAMA_ARG_MODEL", "hf", "hfr", "hf-repo", "LLAMA_ARG_HF_REPO")
    )


def _starts(values: Mapping[str, str], model: ImportedModel) -> bool:
    value = next((values[key] for key in _START if key in values), "off")
    try:
        return switch(value)
    except OptionValueError as exc:
        model.note(f"{_START[0]} {value[:40]}: {exc}")
        return False
