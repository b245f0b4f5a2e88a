"""Directives to text that can be parsed back. Ollama: parser/parser.go, quote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

from corral.modelfile.reader import Directive, ModelfileError, read_directives


def format_modelfile(directives: Iterable[Directive]) -> str:
    """Directives as text that parses to the same directives."""
    return "".join(f"{_format(directive)}\n" for directive in directives)


def _format(directive: Directive) -> str:
    head = directive.name.upper()
    if directive.name in ("parameter", "message"):
        head = f"{head} {directive.key}"
    return f"{head} {_quote(directive.value)}"


def _quote(text: str) -> str:
    """The first way of quoting a value that parses back to it; Ollama's way is tried first."""
    for candidate in _candidates(text):
        if _reads_back(candidate, text):
            return candidate
    mark = next(mark for mark in (f"END{i or ''}" for i in count()) if mark not in text)
    return f'"""<<{mark}\n{text}\n{mark}"""'


def _candidates(text: str) -> Iterator[str]:
    if "\n" not in text and not text.startswith((" ", '"')) and not text.endswith(" "):
        yield text
    elif '"' not in text:
        yield f'"{text}"'
    yield f'"""{text}"""'


def _reads_back(candidate: str, text: str) -> bool:
    if not candidate.startswith('"') and "\r" not in candidate:
        return candidate.strip() == text  # the usual case needs no parser
    try:
        return [directive.value for directive in read_directives(f"FROM {candidate}\n")] == [text]
    except ModelfileError:
        return False
