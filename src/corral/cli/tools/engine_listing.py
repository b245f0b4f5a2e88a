"""`engine list` and `engine info`: what is here, what it can do, and on which devices."""

from __future__ import annotations

import os
import sys
from typing import Any

from corral.cli.terminal.formatting import format_bytes, format_table
from corral.cli.terminal.json_output import print_json
from corral.config import Settings
from corral.gpus import EngineDevice
from corral.homefolder import home_folder
from corral.runner.engines.automatic import resolve_engine
from corral.runner.engines.buildtree import begun_builds
from corral.runner.engines.choice import (
    Engine,
    UnknownEngineError,
    chosen_name,
    find_engine,
    installed_engines,
    wheel_version,
)
from corral.runner.engines.environment import engine_variables
from corral.runner.engines.folders import EngineSetupError
from corral.runner.engines.probe import ProbeError, probe_devices
from corral.runner.engines.prove import missing_driver, read_features


def show_list(*, as_json: bool) -> None:
    """All engines that are here; a star marks the chosen one."""
    rows = []
    entries = []
    env = engine_variables(Settings.from_env(os.environ))
    chosen = _chosen()
    for found in installed_engines(home_folder()):
        uses, problem = _uses(found, env)
        entries.append({**_summary(found, chosen), "features": uses, "problem": problem})
        mark = "*" if _is_chosen(found, chosen) else ""
        rows.append((mark, found.name, found.version or "-", problem or _short(found, uses)))
    begun = begun_builds(home_folder())
    if as_json:
        print_json({"engines": entries, "begun_builds": begun})
        return
    sys.stdout.write(format_table(rows, header=("", "NAME", "VERSION", "USES")))
    for name in begun:
        print(f"\nThe build of {name} has not ended; corral engine build {name} goes on, remove deletes it.")


def _is_chosen(engine: Engine, chosen: str) -> bool:
    return chosen in (engine.name, str(engine.server_path))


def _chosen() -> str:
    """The engine that a server started now would use; one that cannot be used any more by its name."""
    try:
        found = resolve_engine(Settings.from_env(os.environ), home_folder()).engine
    except UnknownEngineError:
        return chosen_name(home_folder())
    return str(found.server_path) if found.server_path else found.name


def _uses(engine: Engine, env: dict[str, str]) -> tuple[str, str]:
    """The engine's own line about its features, and what is wrong with it."""
    if engine.server_path is not None:
        return "", ""
    if engine.version != wheel_version():
        return "", f"not used: Corral needs version {wheel_version()}"
    try:
        return read_features(engine.package_folder, env), ""
    except EngineSetupError as error:
        return "", f"not used: {driver}" if (driver := missing_driver(error)) else f"broken: {error}"


def _short(engine: Engine, features: str) -> str:
    if engine.server_path is not None:
        return str(engine.server_path)
    devices = [device.name for device in engine.facts.devices if device.kind != "cpu"] if engine.facts else []
    return " ".join([*devices, _instructions(features)])


def _instructions(features: str) -> str:
    """The features that are on in `CUDA : ARCHS = 900 | CPU : SSE3 = 1 | AVX = 1 | ...`."""
    names = []
    for entry in features.split("|"):
        name, mark, value = entry.rpartition(":")[2].partition("=")
        if mark and value.strip() not in ("0", ""):
            names.append(name.strip())
    return " ".join(names) or features


def _summary(engine: Engine, chosen: str) -> dict[str, Any]:
    facts = engine.facts
    return {
        "name": engine.name,
        "version": engine.version,
        "chosen": _is_chosen(engine, chosen),
        "path": str(engine.server_path or engine.package_folder or ""),
        "backend": facts.backend if facts else "",
        "source": facts.source if facts else "",
        "origin": facts.origin if facts else "",
        "digest": facts.digest if facts else "",
        "built_at": facts.built_at if facts else "",
        "architectures": list(facts.architectures) if facts else [],
        "without": list(facts.without) if facts else [],
    }


def show_info(name: str, *, as_json: bool) -> None:
    """Devices, memory and features of an engine (the chosen one by default), asked of it now.

    Raises:
        UnknownEngineError
    """
    home = home_folder()
    engine = find_engine(name or _chosen(), home)
    env = engine_variables(Settings.from_env(os.environ))
    features, problem = _uses(engine if engine.version else _with_version(engine), env)
    devices: tuple[EngineDevice, ...] = ()
    if not problem:
        try:
            devices = probe_devices(
                package_folder=engine.package_folder, server_path=engine.server_path, env=env
            )
        except ProbeError as error:
            problem = f"it cannot list its devices: {error}"
    answer = {
        **_summary(_with_version(engine), _chosen()),
        "features": features,
        "problem": problem,
        "devices": [_device(device) for device in devices],
    }
    if as_json:
        print_json(answer)
    else:
        _print_info(answer, devices)


def _with_version(engine: Engine) -> Engine:
    is_builtin = engine.server_path is None and engine.package_folder is None
    return Engine(engine.name, wheel_version()) if is_builtin else engine


def _device(device: EngineDevice) -> dict[str, Any]:
    return {
        "name": device.name,
        "description": device.description,
        "kind": device.kind,
        "library": device.library,
        "total_bytes": device.total_bytes,
        "free_bytes": device.free_bytes,
        "pci": device.pci,
    }


def _print_info(answer: dict[str, Any], devices: tuple[EngineDevice, ...]) -> None:
    labels = (
        ("name", "name"),
        ("version", "version"),
        ("path", "path"),
        ("source", "source"),
        ("origin", "origin"),
        ("digest", "digest"),
        ("built_at", "made"),
        ("features", "features"),
        ("problem", "problem"),
    )
    rows = [(label, str(answer[key])) for key, label in labels if answer[key]]
    if answer["architectures"]:
        rows.append(("compiled for", " ".join(answer["architectures"])))
    if answer["without"]:
        rows.append(("without", " ".join(answer["without"])))
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        print(f"{label:{width}}  {value}")
    if devices:
        print()
        header = ("DEVICE", "KIND", "DESCRIPTION", "FREE", "MEMORY", "PCI")
        sys.stdout.write(format_table([_row(device) for device in devices], header=header))


def _row(device: EngineDevice) -> tuple[str, ...]:
    sizes = (format_bytes(device.free_bytes), format_bytes(device.total_bytes))
    return (device.name, device.kind, device.description, *sizes, device.pci)
