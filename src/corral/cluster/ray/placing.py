"""Where supervising actors run: one for each node, where its resource says, and again when the node comes back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corral.cluster.ray.library import NAMESPACE
from corral.cluster.ray.record import NodeRecord
from corral.cluster.ray.supervisor import GuestPlace, Supervisor

# Methods may be called while others wait.
_THREADS = 4


def supervise(ray: Any, record: NodeRecord) -> Any:
    """The supervisor of a node that Corral has started Ray on. Raises what Ray raises."""
    options = {"resources": {record.resource: 1}}
    return _supervisor(ray, record.name, options, record.folder)


def supervise_here(ray: Any, record: NodeRecord) -> Any:
    """The supervisor of this machine, in a Ray cluster of somebody else's."""
    return _supervisor(ray, record.name, _on(ray.get_runtime_context().get_node_id()), record.folder)


@dataclass(frozen=True, slots=True)
class GuestServers:
    """Places supervisors on nodes that only offer their memory; what they run there, the environment says.

    `server_port`: where their servers listen.
    """

    server_port: int

    def __call__(self, ray_node: str) -> None:
        import ray

        _supervisor(ray, ray_node, _on(ray_node), GuestPlace(self.server_port))


def supervisor_name(name: str) -> str:
    return f"server:{name}"


def _supervisor(ray: Any, name: str, options: dict[str, Any], place: Path | GuestPlace) -> Any:
    return (
        ray.remote(Supervisor)
        .options(
            name=supervisor_name(name),
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
            max_concurrency=_THREADS,
            **options,
        )
        .remote(place)
    )


def _on(ray_node: str) -> dict[str, Any]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(ray_node, soft=False)}
