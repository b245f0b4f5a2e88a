"""What is known of an engine that was installed or built here: a file in its folder, written when it was proven."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corral.gpus import EngineDevice

# Its name comes from when only native builds had one; programs of before and after read each other's.
FILE = "build.json"
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """`source`: `index`, `wheel` (a file), or `build`; `origin`: its address or name. `digest` is the wheel's.

    `devices` is what the engine listed when it was proven, on this machine; `features` its own line about them.
    `architectures`: the GPUs that it was compiled for, as its compiler names them; empty if not known. `unproven`:
    why it could not be tried here, empty if it was. `without`: what a newer glslc would have compiled in.
    """

    name: str
    version: str
    backend: str = "cpu"
    source: str = "build"
    origin: str = ""
    digest: str = ""
    built_at: str = ""
    features: str = ""
    unproven: str = ""
    architectures: tuple[str, ...] = ()
    devices: tuple[EngineDevice, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def has_gpu(self) -> bool:
        """Whether it listed a device beside the processor."""
        return any(device.kind != "cpu" for device in self.devices)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def write_facts(folder: Path, facts: EngineFacts) -> None:
    """Put the facts into an engine's folder."""
    (folder / FILE).write_text(json.dumps(facts.to_json(), indent=1) + "\n")


def read_facts(folder: Path, name: str) -> EngineFacts | None:
    """The facts of an engine's folder; None if there is no such file, or it makes no sense."""
    try:
        with (folder / FILE).open("rb") as file:
            found = json.loads(file.read(_MAX_BYTES))
        return EngineFacts(
            name=name,
            version=str(found["version"]),
            **{
                key: str(found[key])
                for key in ("backend", "source", "origin", "digest", "built_at", "features", "unproven")
                if key in found
            },
            architectures=tuple(map(str, found.get("architectures") or ())),
            without=tuple(map(str, found.get("without") or ())),
            devices=tuple(_device(entry) for entry in found.get("devices") or ()),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _device(entry: dict[str, Any]) -> EngineDevice:
    return EngineDevice(
        name=str(entry["name"]),
        description=str(entry["description"]),
        kind=str(entry["kind"]),
        total_bytes=int(entry["total_bytes"]),
        free_bytes=int(entry["free_bytes"]),
        pci=str(entry.get("pci", "")),
    )
