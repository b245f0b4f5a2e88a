"""Families of pulls and pushes, and of the usage ledger, read from those who count them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from corral.metrics.instruments import Family, Gauge


class Transfers(Protocol):
    """What is counted of transfers. `ends`: by `pull` or `push`, and how they ended."""

    pulled_bytes: int
    retries: int

    @property
    def ends(self) -> Mapping[tuple[str, str], int]: ...


def transfer_families(counts: Transfers) -> list[Family]:
    """Pulls and pushes."""

    def ended(kind: str) -> Gauge:
        return Gauge(
            f"corral_{kind}es_total" if kind == "push" else f"corral_{kind}s_total",
            f"{'Pushes' if kind == 'push' else 'Pulls'} of models that ended, by result.",
            ("result",),
            lambda: [((result,), count) for (what, result), count in counts.ends.items() if what == kind],
            kind="counter",
        )

    return [
        Gauge(
            "corral_pull_bytes_total",
            "Bytes of models that came from registries.",
            (),
            lambda: [((), counts.pulled_bytes)],
            kind="counter",
        ),
        Gauge(
            "corral_pull_retries_total",
            "Further attempts at parts of downloads.",
            (),
            lambda: [((), counts.retries)],
            kind="counter",
        ),
        ended("pull"),
        ended("push"),
    ]


def ledger_family(is_failing: Callable[[], bool]) -> Gauge:
    """Whether what is used can be written down."""
    return Gauge(
        "corral_usage_failing",
        "1 while the usage ledger cannot be written, and waits in memory.",
        (),
        lambda: [((), int(is_failing()))],
    )
