"""Whether a build of the engine works here: a child imports it and lists its devices."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from corral.gpus import EngineDevice
from corral.runner.engines.asking import SilentEngineError, ask, last_words, package_environment
from corral.runner.engines.distributions import library_hint
from corral.runner.engines.folders import EngineSetupError
from corral.runner.engines.probe import ProbeError, probe_devices

_PROBE = "import xllamacpp, sys; sys.stdout.write(xllamacpp.get_system_info())"
_LIMIT_S = 60.0
# What lies in the current folder is not the engine.
_SAFE = {"PYTHONSAFEPATH": "1"}
# A CUDA build cannot be imported without the driver, which a container gets only when it runs.
_DRIVER = "libcuda.so.1"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a build says of itself. `unproven`: why it could not be asked."""

    features: str = ""
    devices: tuple[EngineDevice, ...] = ()
    unproven: str = ""


def read_features(package_folder: Path | None, env: Mapping[str, str] | None = None) -> str:
    """What a build of the engine says of the features that it uses (None: the one in this environment).

    Raises:
        EngineSetupError: it cannot even be imported.
    """
    try:
        done = ask(
            [sys.executable, "-c", _PROBE],
            package_environment(package_folder, {**_SAFE, **(env or {})}),
            _LIMIT_S,
        )
    except SilentEngineError as exc:
        raise EngineSetupError(f"the engine cannot be imported: {exc}") from None
    if done.returncode == -signal.SIGILL:
        raise EngineSetupError(
            "the engine cannot be imported: it was compiled for instructions that this CPU does not have",
            hint="compile it on this machine: corral engine build",
        )
    if done.returncode != 0:
        reason = last_words(done)
        raise EngineSetupError(f"the engine cannot be imported: {reason}", hint=library_hint(reason))
    return done.stdout.strip()


def missing_driver(error: EngineSetupError) -> str:
    """Why a build cannot be imported, if nothing is wrong with it but that the driver is not here."""
    return f"there is no NVIDIA driver here ({_DRIVER})" if _DRIVER in str(error) else ""


def prove(package_folder: Path) -> Proof:
    """Import a build that was just unpacked, and list its devices.

    Raises:
        EngineSetupError: it cannot be imported, or cannot list its devices.
    """
    try:
        features = read_features(package_folder)
        return Proof(features, probe_devices(package_folder=package_folder, env=_SAFE))
    except EngineSetupError as exc:
        if not (unproven := missing_driver(exc)):
            raise
        return Proof(unproven=unproven)
    except ProbeError as exc:
        raise EngineSetupError(
            f"the engine cannot list its devices: {exc}", hint=library_hint(str(exc))
        ) from None
