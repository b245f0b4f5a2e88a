"""Which devices an engine has: asked in a short-lived child, because a driver may hang or end its process."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from corral.gpus import EngineDevice, parse_pci
from corral.runner.engines.asking import SilentEngineError, ask, last_words, package_environment

# A driver that wakes up sleeping cards takes seconds.
_PROBE_TIMEOUT_S = 30.0
_MIB = 1 << 20
_MAX_DEVICES = 256
_PROBE = """
import json, sys
import xllamacpp
found = []
for device in xllamacpp.get_device_info():
    kind = str(getattr(device["type"], "name", device["type"])).rpartition("_")[2].lower()
    numbers = [int(device["memory_total"]), int(device["memory_free"])]
    found.append([device["name"], device["description"], kind, *numbers, device.get("device_id") or ""])
sys.stdout.write("\\ndevices:" + json.dumps(found) + "\\n")
"""
_LINE = re.compile(r"^\s+([A-Za-z]+\d*): (.*) \((\d+) MiB, (\d+) MiB free\)\s*$", re.MULTILINE)
_UNIFIED = re.compile(r"ggml_vulkan: (\d+) = .*\| uma: 1 \|")


class ProbeError(Exception):
    """The engine could not be asked; the text is its own reason."""


def probe_devices(
    *,
    package_folder: Path | None = None,
    server_path: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[EngineDevice, ...]:
    """All devices that an engine lists, its processor included. `env`: further variables for it.

    Raises:
        ProbeError: it cannot be started, fails, or does not answer within 30 s.
    """
    variables = package_environment(package_folder, env)
    if server_path is not None:
        return parse_server_list(_output([str(server_path), "--list-devices"], variables))
    return parse_package_list(_output([sys.executable, "-c", _PROBE], variables))


def _output(command: list[str], env: Mapping[str, str]) -> str:
    try:
        done = ask(command, env, _PROBE_TIMEOUT_S)
    except SilentEngineError as exc:
        raise ProbeError(str(exc)) from None
    if done.returncode != 0:
        raise ProbeError(last_words(done))
    return f"{done.stderr}\n{done.stdout}"


def parse_package_list(text: str) -> tuple[EngineDevice, ...]:
    """What the probe of a package prints last.

    Raises:
        ProbeError: there is no list.
    """
    _, mark, rest = text.rpartition("\ndevices:")
    try:
        entries = json.loads(rest) if mark else None
        assert isinstance(entries, list)
        return tuple(
            EngineDevice(str(name), str(description), str(kind), int(total), int(free), parse_pci(str(pci)))
            for name, description, kind, total, free, pci in entries[:_MAX_DEVICES]
        )
    except (AssertionError, ValueError, TypeError, RecursionError):
        raise ProbeError("it gave no list of devices") from None


def parse_server_list(text: str) -> tuple[EngineDevice, ...]:
    """What `llama-server --list-devices` prints: lines such as `  CUDA0: NVIDIA ... (24564 MiB, 23010 MiB free)`.

    It does not print their kinds. Vulkan's own lines, where there are any, show what shares the machine's memory.
    """
    unified = set(_UNIFIED.findall(text))
    devices = []
    for name, description, total, free in _LINE.findall(text)[:_MAX_DEVICES]:
        is_unified = name.startswith("Vulkan") and name.removeprefix("Vulkan") in unified
        is_processor = name.upper().startswith("CPU")
        kind = "cpu" if is_processor else "igpu" if is_unified else "gpu"
        devices.append(EngineDevice(name, description, kind, int(total) * _MIB, int(free) * _MIB))
    return tuple(devices)
