"""All workloads, by name."""

from __future__ import annotations

from functools import cache

from tests.crashplans.workload import Workload
from tests.crashplans.workloads import databases, engines, making, settings, store, transfers


@cache
def all_workloads() -> dict[str, Workload]:
    """Call it first in the process that plays plans: it starts a registry."""
    parts = (
        store.WORKLOADS,
        making.WORKLOADS,
        transfers.workloads(),
        databases.WORKLOADS,
        settings.WORKLOADS,
        engines.WORKLOADS,
    )
    return {workload.name: workload for part in parts for workload in part}
