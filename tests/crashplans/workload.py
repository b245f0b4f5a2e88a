"""What a workload is: steps that a user or client asks for, and what has to hold whatever happens in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Step:
    """`do` returns what the client got as an answer (as JSON). It can be repeated after it was cut short."""

    name: str
    do: Callable[[Path], Any]


@dataclass(frozen=True, slots=True)
class Workload:
    """`root` is the folder that everything is in.

    `prepare` makes what was there before. `start` is what the next start of the program does; it must not fail.
    `verify` yields what is wrong: the answers of the steps that were acknowledged, and the name of the step under
    way, or "". `keeps_power`: what was acknowledged survives a power cut; otherwise only that all is whole.
    `after_power` does what a restart of the machine changes besides.
    """

    name: str
    prepare: Callable[[Path], None]
    steps: tuple[Step, ...]
    start: Callable[[Path], None]
    verify: Callable[[Path, Mapping[str, Any], str], Iterator[str]]
    keeps_power: bool = True
    after_power: Callable[[], None] = lambda: None
