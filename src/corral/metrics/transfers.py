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


class PeerWeights(Protocol):
    """What came from other servers of the cluster; `failures` by a few fixed reasons."""

    bytes: int
    seconds: float
    waits: int
    waited_s: float

    @property
    def failures(self) -> Mapping[str, int]: ...


class Turns(Protocol):
    """How often another server was let fetch weights here, and how often it was not."""

    served: int
    refused: int


def weight_families(counts: PeerWeights, turns: Turns | None) -> list[Family]:
    """Weights from the other servers of a cluster, and for them."""

    def counter(name: str, text: str, read: Callable[[], float]) -> Gauge:
        return Gauge(f"corral_cluster_weights_{name}_total", text, (), lambda: [((), read())], kind="counter")

    families: list[Family] = [
        counter(
            "bytes", "Bytes of models that came from other servers of the cluster.", lambda: counts.bytes
        ),
        counter("seconds", "Time in which they came, of all streams together.", lambda: counts.seconds),
        counter("waits", "Ranges of files that waited for a turn at a server.", lambda: counts.waits),
        counter("wait_seconds", "Time for which they waited.", lambda: counts.waited_s),
        Gauge(
            "corral_cluster_weights_failures_total",
            "Ranges of files that a server of the cluster did not send, or not to their end.",
            ("reason",),
            lambda: [((reason,), count) for reason, count in list(counts.failures.items())],
            kind="counter",
        ),
    ]
    if turns is not None:
        families.append(
            Gauge(
                "corral_cluster_weights_turns_total",
                "Servers of the cluster that asked for weights here, by whether they got a turn.",
                ("result",),
                lambda: [(("given",), turns.served), (("refused",), turns.refused)],
                kind="counter",
            )
        )
    return families


def ledger_family(is_failing: Callable[[], bool]) -> Gauge:
    """Whether what is used can be written down."""
    return Gauge(
        "corral_usage_failing",
        "1 while the usage ledger cannot be written, and waits in memory.",
        (),
        lambda: [((), int(is_failing()))],
    )
