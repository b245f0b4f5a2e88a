"""What is known of one run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench.soak.processes import Look


@dataclass(slots=True)
class Seen:
    """What a client knows of one request. `counts`: prompt, cached and generated tokens; None where it left."""

    key: str
    surface: str
    status: int = 0
    counts: tuple[int, int | None, int] | None = (0, 0, 0)
    lines: int = 0


@dataclass(slots=True)
class Run:
    """All that is known."""

    seen: dict[str, Seen] = field(default_factory=dict)
    log: dict[str, dict[str, Any]] = field(default_factory=dict)
    other_lines: Counter[str] = field(default_factory=Counter)
    looks: list[Look] = field(default_factory=list)
    # While no request runs, before and after the time that counts.
    quiet: list[Look] = field(default_factory=list)
    # How many requests of each kind were sent.
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    # SIGTERM: the report comes early.
    is_over: bool = False

    def is_settled(self) -> bool:
        """Whether the log has every request: what was given up ends a moment later."""
        return self.seen.keys() <= self.log.keys()
