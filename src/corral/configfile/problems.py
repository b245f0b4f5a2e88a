"""What is wrong in a configuration file, and where."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from corral.configfile.locate import Keys
from corral.errors import CorralError


@dataclass(frozen=True, slots=True)
class Problem:
    """`line` counts from 1; 0 is the file as a whole."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}" if self.line else f"{self.path}: {self.text}"


class ConfigFileError(CorralError):
    """Configuration files that cannot be used; the message is the first of its `problems`."""

    def __init__(self, problems: list[Problem]) -> None:
        more = f"; {len(problems) - 1} more" if len(problems) > 1 else ""
        super().__init__(
            str(problems[0]), hint=f"correct the file{more}: corral config check lists all problems"
        )
        self.problems = problems


@dataclass(slots=True)
class Reporter:
    """Collects the problems of one file."""

    path: Path
    lines: dict[Keys, int]
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, keys: Keys) -> int:
        """The line of a key, or of the table around it."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return self.lines.get(keys, 0)

    def report(self, keys: Keys, text: str) -> None:
        self.problems.append(Problem(self.path, self.line_of(keys), text))

    def report_unknown(self, keys: Keys, known: Iterable[str], where: str = "") -> None:
        """An unknown key, with the nearest known one."""
        close = get_close_matches(keys[-1], sorted(known), n=1, cutoff=0.6)
        advice = f"; did you mean {where}{close[0]}?" if close else ""
        self.report(keys, f"unknown key {'.'.join(map(shown_key, keys))}{advice}")


def shown_key(key: str) -> str:
    """A key as TOML writes it."""
    is_bare = key and all(c.isascii() and (c.isalnum() or c in "-_") for c in key)
    return key if is_bare else toml_string(key)


def toml_string(text: str) -> str:
    """A string as TOML writes it. JSON's escapes are also those of TOML, but JSON leaves DEL as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
