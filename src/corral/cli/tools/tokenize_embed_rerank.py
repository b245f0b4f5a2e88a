"""`tokenize`, `embed` and `rerank`: texts from the arguments or standard input; results as tables or JSON."""

from __future__ import annotations

import json
import sys

from corral.cli.conversation.spinner import Spinner
from corral.cli.frame.flags import Arguments, UsageError
from corral.cli.http.client import APIError, Client
from corral.cli.terminal.formatting import display_width, format_table
from corral.cli.terminal.screen import is_terminal, safe, terminal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# Texts per request: enough to keep the engine busy, few enough to see results soon.
_BATCH = 64
_UNCUT = 10**6


def tokenize(client: Client, arguments: Arguments) -> None:
    name, *words = arguments.words
    forms = [form for form in ("ids", "count", "json") if arguments.has(form)]
    if len(forms) > 1:
        raise UsageError("only one of '--ids', '--count' or '--json' can be specified")
    body = {
        "model": name,
        "content": " ".join(words) if words else _read_stdin(),
        "add_special": arguments.has("special"),
        "with_pieces": forms in ([], ["json"]),
    }
    answer = _call(client, name, "/api/tokenize", body)
    tokens = answer["tokens"] or []
    match forms:
        case ["json"]:
            _print_json(answer)
        case ["ids"]:
            print(" ".join(map(str, tokens)))
        case ["count"]:
            print(len(tokens))
        case _:
            rows = [
                (str(token), _piece(piece)) for token, piece in zip(tokens, answer["pieces"], strict=True)
            ]
            sys.stdout.write(format_table(rows, header=("ID", "PIECE"), cell_width=_UNCUT))


def _piece(piece: str | list[int]) -> str:
    """A piece in quotes with all characters visible; bytes that are not a whole character in hexadecimal."""
    if isinstance(piece, list):
        return " ".join(f"<{byte:02X}>" for byte in piece)
    return safe(json.dumps(piece, ensure_ascii=False)).replace(" ", "\N{NO-BREAK SPACE}")


def embed(client: Client, arguments: Arguments) -> None:
    name, *texts = arguments.words
    body: dict[str, Any] = {"model": name}
    if (dimensions := arguments.integer("dimensions")) > 0:
        body["dimensions"] = dimensions
    if "truncate" in arguments.flags:
        body["truncate"] = arguments.has("truncate")
    inputs = texts or _read_lines()
    if arguments.has("json"):
        _print_json(_call(client, name, "/api/embed", {**body, "input": inputs}))
        return
    for start in range(0, len(inputs), _BATCH):
        answer = _call(client, name, "/api/embed", {**body, "input": inputs[start : start + _BATCH]})
        for vector in answer["embeddings"]:
            print(json.dumps(vector, separators=(",", ":")), flush=True)


def rerank(client: Client, arguments: Arguments) -> None:
    name, query, *documents = arguments.words
    documents = documents or _read_lines()
    body: dict[str, Any] = {
        "model": name,
        "query": query,
        "documents": documents,
        "raw_scores": arguments.has("raw"),
    }
    if "top-n" in arguments.flags:
        body["top_n"] = arguments.integer("top-n")
    if arguments.has("json"):
        _print_json(_call(client, name, "/api/rerank", {**body, "return_documents": True}))
        return
    results = _call(client, name, "/api/rerank", body)["results"]
    rows = [
        (f"{row['relevance_score']:.4f}", str(row["index"] + 1), documents[row["index"]]) for row in results
    ]
    sys.stdout.write(_cut_table(rows))


def _cut_table(rows: list[tuple[str, str, str]]) -> str:
    """The best first. On a terminal documents are cut to its width; elsewhere only line breaks are removed."""
    room = _UNCUT
    if is_terminal(sys.stdout):
        room = max(terminal_size(sys.stdout)[0] - 40, 20)
    shown = [
        (score, number, "".join(_cut(safe(" ".join(text.split())), room))) for score, number, text in rows
    ]
    return format_table(shown, header=("SCORE", "NUMBER", "DOCUMENT"), cell_width=_UNCUT)


def _cut(text: str, width: int) -> Iterator[str]:
    if display_width(text) <= width:
        yield text
        return
    used = 1
    for character in text:
        used += display_width(character)
        if used > width:
            break
        yield character
    yield "…"


def _call(client: Client, name: str, path: str, body: dict[str, Any]) -> Any:
    """Raises APIError, NoServerError."""
    try:
        with Spinner(client, name):
            return client.call("POST", path, body)
    except APIError as error:
        if error.status == 404 and str(error).startswith("404 page not found"):
            raise APIError(f"this server has no {path}; a Corral server is required", 404) from None
        raise


def _print_json(answer: Any) -> None:
    from corral.cli.terminal.json_output import print_json

    print_json(answer)


def _read_stdin() -> str:
    """All of standard input, unchanged.

    Raises:
        UsageError: standard input is a terminal.
    """
    if sys.stdin is None or is_terminal(sys.stdin):
        raise UsageError("no text given: pass it as an argument or on standard input")
    return sys.stdin.buffer.read().decode("utf-8", "replace")


def _read_lines() -> list[str]:
    """The lines of standard input that are not empty."""
    lines = [line.rstrip("\r") for line in _read_stdin().split("\n")]
    kept = [line for line in lines if line.strip()]
    if not kept:
        raise UsageError("no text given: standard input is empty")
    return kept
