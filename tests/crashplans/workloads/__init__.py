"""All workloads, by name."""

from __future__ import annotations

from tests.crashplans.workload import Workload
from tests.crashplans.workloads import databases, settings, store

WORKLOADS: dict[str, Workload] = {
    workload.name: workload for workload in (*store.WORKLOADS, *databases.WORKLOADS, *settings.WORKLOADS)
}
