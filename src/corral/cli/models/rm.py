"""`rm`: deletes models by name, or by patterns that are matched against the list first."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from corral.cli.frame.flags import Arguments, UsageError
from corral.cli.http.client import APIError, Client
from corral.cli.models.listing import unload
from corral.cli.terminal.screen import is_terminal, safe


def remove(client: Client, arguments: Arguments) -> int:
    names = arguments.words
    if any(map(is_pattern, names)):
        names, found_count = _expand(client, names)
        if found_count > 1 and not arguments.has("yes") and not _agrees(names):
            print("nothing was deleted", file=sys.stderr)
            return 1
    for name in names:
        try:
            unload(client, name)
        except APIError as error:
            if error.status != 404:
                print(f"Warning: unable to stop model '{name}'", file=sys.stderr)
        client.call("DELETE", "/api/delete", {"model": name})
        print(f"deleted '{name}'")
    return 0


def is_pattern(text: str) -> bool:
    """Whether a word has characters that model names cannot have: `*`, `?` or `[`."""
    return any(mark in text for mark in "*?[")


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that match a shell pattern. Wildcards do not match slashes, `:latest` may be omitted."""
    from fnmatch import fnmatchcase

    def fits(name: str) -> bool:
        wanted, parts = pattern.split("/"), name.split("/")
        return len(wanted) == len(parts) and all(map(fnmatchcase, parts, wanted))

    return [name for name in names if fits(name) or fits(name.removesuffix(":latest"))]


def _expand(client: Client, words: Iterable[str]) -> tuple[list[str], int]:
    """All names in the order of the words, each once, and the number of names found by patterns.

    Raises:
        UsageError: a pattern matches nothing.
    """
    listed = [model["name"] for model in client.call("GET", "/api/tags")["models"] or ()]
    names: dict[str, None] = {}
    found: set[str] = set()
    for word in words:
        if not is_pattern(word):
            names[word] = None
            continue
        fitting = matching(word, listed)
        if not fitting:
            raise UsageError(f"no model matches '{word}'; nothing was deleted")
        found.update(fitting)
        for name in fitting:
            if name.removesuffix(":latest") not in names:
                names[name] = None
    return list(names), len(found)


def _agrees(names: list[str]) -> bool:
    """Ask for confirmation; without a terminal nobody can be asked, and the answer is yes."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return True
    print(safe("\n".join(names)), file=sys.stderr)
    print(f"Delete these {len(names)} models? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
