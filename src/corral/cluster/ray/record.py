"""What a machine knows of its own part in a Ray cluster: `cluster/node.json` below Corral's folder, for its owner."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from corral.cluster.ray.ports import PortPlan
from corral.cluster.ray.serving import ServeOrder
from corral.cluster.ray.tablefile import NAME as TABLE
from corral.disk import make_folders, write_atomically
from corral.errors import CorralError

NAME = "node.json"
_VERSION = 1


class RecordError(CorralError):
    """The file does not exist, or holds something else."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One node.

    Attributes:
        folder: where this is kept, with locks, logs and the table.
        name: in the cluster.
        address: this machine's, as the others see it.
        server_port: where the server listens.
        scheme: `http` or `https`.
        head: address and port of Ray's head; its own, if `is_head`.
        is_head: this machine started the cluster.
        is_guest: Ray was there before, and is not ended with Corral.
        is_everywhere: a guest on all nodes of that Ray.
        ports: range of the other ports of Ray, as in `20300-20399`.
        head_port: of the head, if `is_head`.
        resources: that the Ray node offers.
        token_file: empty for a guest that finds its token by itself.
        variables: settings of the server.
    """

    folder: Path
    name: str
    address: str
    server_port: int
    head: str
    scheme: str = "http"
    is_head: bool = False
    is_guest: bool = False
    is_everywhere: bool = False
    ports: str = ""
    head_port: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    token_file: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{host}:{self.server_port}"

    @property
    def resource(self) -> str:
        """Only this node offers it, and only its supervisor asks for it."""
        return f"corral_node:{self.name}"

    @property
    def token_path(self) -> Path | None:
        return Path(self.token_file) if self.token_file else None

    @property
    def table(self) -> Path:
        return self.folder / TABLE

    @property
    def lock(self) -> Path:
        """Held by the process that keeps the Ray node."""
        return self.folder / "node.lock"

    @property
    def ray_lock(self) -> Path:
        """Held by the first of Ray's processes."""
        return self.folder / "ray.lock"

    @property
    def log(self) -> Path:
        return self.folder / "node.log"

    def plan(self) -> PortPlan:
        return PortPlan.parse(self.ports, head=self.head_port, server=self.server_port)

    def order(self, environment: Mapping[str, str]) -> ServeOrder:
        """What its supervisor runs, with `environment` below the settings."""
        return ServeOrder(
            self.url, self.address, self.server_port, self.folder, {**environment, **self.server_variables()}
        )

    def server_variables(self) -> dict[str, str]:
        """Settings of the server that its place in the cluster decides, and those that it was given."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return {
            "OLLAMA_HOST": f"{host}:{self.server_port}",
            **self.variables,
            "CORRAL_CLUSTER_MODE": "ray",
            "CORRAL_CLUSTER_NAME": self.name,
        }

    def write(self) -> None:
        """Raises OSError."""
        make_folders(self.folder, mode=0o700)
        values = {**asdict(self), "folder": str(self.folder), "version": _VERSION}
        write_atomically(self.folder / NAME, json.dumps(values, indent=1).encode(), mode=0o600)

    @classmethod
    def read(cls, folder: Path) -> NodeRecord:
        """Raises RecordError."""
        try:
            values: Any = json.loads((folder / NAME).read_bytes())
            if values.pop("version") != _VERSION:
                raise ValueError("another version")
            return cls(**{**values, "folder": folder})
        except FileNotFoundError:
            raise RecordError("this machine does not belong to a Ray cluster") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise RecordError(f"{folder / NAME}: {exc}", hint="remove it, and start or join again") from exc

    def remove(self) -> None:
        with suppress(OSError):
            (self.folder / NAME).unlink()


def cluster_folder(home: Path) -> Path:
    """Where all of this is, below Corral's folder."""
    return home / "cluster"
