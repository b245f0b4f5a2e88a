"""`corral show`: blocks of facts about a model, or one of its texts."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from corral.cli.frame.flags import Arguments, UsageError
from corral.cli.http.client import APIError, Client
from corral.cli.terminal.formatting import CELL_WIDTH, format_count, format_table
from corral.cli.terminal.screen import is_terminal, safe, terminal_size

_TEXT_FLAGS = ("license", "modelfile", "parameters", "system", "template")
_SAMPLE_COLUMNS = 10
_TEXT_WIDTH = 100
_LEAST_TEXT_WIDTH = 20
# Four columns before a cell, two more before a continuation line, four after it.
_MARGINS = 10


def show(client: Client, arguments: Arguments) -> None:
    chosen = [name for name in _TEXT_FLAGS if arguments.has(name)]
    if len(chosen) > 1:
        raise APIError(
            "only one of '--license', '--modelfile', '--parameters', '--system', or '--template' can be specified"
        )
    if chosen and arguments.has("json"):
        raise UsageError(f"'--json' cannot be combined with '--{chosen[0]}': JSON includes all of them")
    name = arguments.words[0]
    if "://" in name:
        from corral.cli.models.weblinks import name_of_link

        name = name_of_link(name)
    body = {"model": name, "verbose": arguments.has("verbose")}
    answer = client.call("POST", "/api/show", body)
    if arguments.has("json"):
        from corral.cli.terminal.json_output import print_json

        print_json(answer)
        return
    if chosen:
        text = answer.get(chosen[0], "")
        if chosen[0] == "modelfile" and answer.get("requires"):
            text += (
                f"REQUIRES {answer['requires']}\n"  # a separate member of the answer, but part of a Modelfile
            )
        text = safe(text) if sys.stdout.isatty() else text
        sys.stdout.write(text if chosen[0] in ("system", "template") else text + "\n")
        return
    is_verbose = arguments.has("verbose")
    if is_terminal(sys.stdout):
        width = terminal_size(sys.stdout)[0] - _MARGINS
        sys.stdout.write(safe(format_blocks(answer, is_verbose=is_verbose, text_width=width)))
    else:
        sys.stdout.write(format_blocks(answer, is_verbose=is_verbose))


def format_blocks(answer: dict[str, Any], *, is_verbose: bool = False, text_width: int = _TEXT_WIDTH) -> str:
    """The facts about a model as titled tables; `text_width` limits the width of its texts."""
    text_width = max(min(text_width, _TEXT_WIDTH), _LEAST_TEXT_WIDTH)
    info = answer.get("model_info") or {}
    blocks = [_block("Model", _model_rows(answer, info))]
    blocks.append(_block("Capabilities", [[name] for name in answer.get("capabilities") or ()]))
    if projector := answer.get("projector_info"):
        blocks.append(_block("Projector", _projector_rows(projector)))
    parameters = (answer.get("parameters") or "").split("\n")
    blocks.append(_block("Parameters", [line.split() for line in parameters if line.strip()]))
    if is_verbose:
        blocks.append(_block("Metadata", [[key, _value(info[key])] for key in sorted(info)]))
        tensors = answer.get("tensors") or ()
        shapes = [[t["name"], t["type"], "[" + " ".join(map(str, t["shape"])) + "]"] for t in tensors]
        blocks.append(_block("Tensors", shapes))
    blocks.append(_block("System", _first_lines(answer.get("system", "")), text_width))
    blocks.append(_block("License", _first_lines(answer.get("license", "")), text_width))
    return "".join(blocks)


def _model_rows(answer: dict[str, Any], info: dict[str, Any]) -> list[list[str]]:
    details = answer.get("details") or {}
    architecture = info.get("general.architecture", "")
    count = info.get("general.parameter_count")
    rows = [
        ("Remote model", answer.get("remote_model", "")),
        ("Remote URL", answer.get("remote_host", "")),
        ("architecture", architecture or details.get("family", "")),
        ("parameters", format_count(count) if count else details.get("parameter_size", "")),
        ("context length", _known(info.get(f"{architecture}.context_length"))),
        ("embedding length", _known(info.get(f"{architecture}.embedding_length"))),
    ]
    kept = [[name, value] for name, value in rows if value]
    kept.append(["quantization", details.get("quantization_level", "")])
    if requires := answer.get("requires"):
        kept.append(["requires", requires])
    return kept


def _known(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, int | float) and value else ""


def _projector_rows(info: dict[str, Any]) -> list[list[str]]:
    architecture = info.get("general.architecture", "")
    kind = next((k for k in ("vision", "audio") if f"{architecture}.{k}.embedding_length" in info), "vision")
    rows = [
        ("architecture", architecture),
        ("parameters", format_count(info.get("general.parameter_count") or 0)),
        ("embedding length", _known(info.get(f"{architecture}.{kind}.embedding_length"))),
        ("dimensions", _known(info.get(f"{architecture}.{kind}.projection_dim"))),
    ]
    return [[name, value] for name, value in rows if value]


def _value(value: Any) -> str:
    """A metadata value; of a list, the elements that fit into about ten columns, but at least the first."""
    if not isinstance(value, list):
        return "" if value is None else _scalar(value)
    shown: list[str] = []
    width = 1
    for element in value:
        text = _scalar(element)
        width += len(text) + (2 if shown else 0)
        if shown and width > _SAMPLE_COLUMNS:
            break
        shown.append(text)
    more = f" ...+{len(value) - len(shown)} more" if len(shown) < len(value) else ""
    return f"[{' '.join(shown)}{more}]"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _first_lines(text: str) -> list[list[str]]:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return [[line] for line in (lines[:2] + (["..."] if len(lines) > 2 else []))]


def _block(title: str, rows: Sequence[Sequence[str]], cell_width: int = CELL_WIDTH) -> str:
    """A titled table; nothing for no rows."""
    if not rows:
        return ""
    return f"  {title}\n{format_table(rows, indent='    ', cell_width=cell_width)}\n"
