"""Ready-made builds of the engine: where each backend's wheels are, and which wheel is which.

The addresses and what the wheels need are from the README of `xllamacpp` (2026.10.11549): an index for each release
of CUDA and ROCm, and one for Vulkan.
"""

from __future__ import annotations

import platform
import re
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from corral.runner.engines.folders import EngineSetupError

PACKAGE = "xllamacpp"
DEFAULT_INDEX = "https://xorbitsai.github.io/xllamacpp/whl"
_NAME = re.compile(r"([A-Za-z0-9_.]+)-([0-9][A-Za-z0-9_.+!]*)(?:-\d[^-]*)?-([^-]+)-([^-]+)-([^-]+)\.whl")
_SKIPPED = re.compile(r"(?:Skipping|Found) link:?.*?([A-Za-z0-9_.]+-[0-9][^/\s]*?\.whl)\b")
_CUDA_13, _CUDA_12 = "cu132", "cu128"
_ROCM_7, _ROCM_6 = "rocm-7.2.4", "rocm-6.4.1"
# By the wheel: the driver's CUDA version that its PTX needs, the oldest cards, and the cards with code of their own.
_PTX_DRIVER = {_CUDA_13: (13, 2), _CUDA_12: (12, 8)}
_NATIVE_CARDS = {
    _CUDA_13: {(7, 5), (8, 6), (8, 9), (12, 0), (12, 1)},
    _CUDA_12: {(8, 6), (8, 9), (12, 0)},
}
_OLDEST_CARD = {_CUDA_13: (7, 5), _CUDA_12: (5, 0)}


@dataclass(frozen=True, slots=True)
class WheelName:
    """The parts of a wheel's file name. `version` is without the local part (`+cu128`)."""

    package: str
    version: str
    tags: str

    @classmethod
    def parse(cls, text: str) -> WheelName | None:
        found = _NAME.fullmatch(text)
        if found is None:
            return None
        package = re.sub(r"[-_.]+", "-", found[1]).lower()
        return cls(package, found[2].partition("+")[0], "-".join(found.group(3, 4, 5)))


def cuda_folder(driver: tuple[int, int] | None, cards: Sequence[tuple[int, int] | None]) -> str:
    """The index for an NVIDIA driver (the newest CUDA version that it supports) and cards (compute capabilities).

    A wheel has code for common cards; on others the driver compiles its PTX, which needs a driver as new as the
    wheel. Without a driver: the wheel that needs the older one.

    Raises:
        EngineSetupError: no wheel can run on them.
    """
    if driver is None:
        return _CUDA_12
    known = [card for card in cards if card]
    for folder in (_CUDA_13, _CUDA_12):
        needed = _PTX_DRIVER[folder]
        if driver[0] < needed[0] or any(card < _OLDEST_CARD[folder] for card in known):
            continue
        if driver >= needed or (known and all(card in _NATIVE_CARDS[folder] for card in known)):
            return folder
    raise EngineSetupError(
        f"the NVIDIA driver is too old for the ready-made builds: it supports CUDA {driver[0]}.{driver[1]}, "
        "they need 12.8",
        hint="update the driver (570 or newer), or compile with an older CUDA toolkit: corral engine build cuda",
    )


def rocm_folder(version: tuple[int, ...]) -> str:
    """The index for a version of ROCm; without one, that of the newest."""
    return _ROCM_6 if version[:1] == (6,) else _ROCM_7


def index_addresses(base: str, folder: str) -> tuple[str, ...]:
    """Where to look in a mirror: its folder as in the original, else the mirror itself."""
    base = base.rstrip("/")
    return (f"{base}/{folder}", base) if base != DEFAULT_INDEX else (f"{base}/{folder}",)


def seen_wheels(lines: Iterable[str]) -> tuple[WheelName, ...]:
    """The wheels in an index, from what pip says about it at its most talkative."""
    names = [WheelName.parse(found[1]) for line in lines if (found := _SKIPPED.search(line))]
    return tuple(dict.fromkeys(name for name in names if name and name.package == PACKAGE))


def no_wheel_error(version: str, address: str, seen: Sequence[WheelName], backend: str) -> EngineSetupError:
    """What to say when an index has no wheel for this machine: what it has, and what helps."""
    compile_it = f"compile it here: corral engine build {backend}"
    here = f"{PACKAGE} {version} for {this_platform()} in {address}"
    if of_version := [name.tags for name in seen if name.version == version]:
        return EngineSetupError(
            f"there is no wheel of {here}", hint=f"it has {', '.join(of_version)}; {compile_it}"
        )
    if seen:
        versions = ", ".join(dict.fromkeys(name.version for name in seen))
        return EngineSetupError(
            f"there is no wheel of {here}: Corral needs exactly this version, it has {versions}",
            hint=compile_it,
        )
    return EngineSetupError(
        f"no wheel of {PACKAGE} was found in {address}",
        hint=f"name another index with --index-url or CORRAL_ENGINE_INDEX, a file with --wheel, or {compile_it}",
    )


def this_platform() -> str:
    """Python, operating system, processor and C library, as wheels tell them apart."""
    library, version = platform.libc_ver() if sys.platform == "linux" else ("", "")
    parts = [f"Python {sys.version_info.major}.{sys.version_info.minor}"]
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        parts[0] += " (free-threaded)"
    return ", ".join(
        [*parts, platform.system(), platform.machine(), *filter(None, [f"{library} {version}".strip()])]
    )


def check_wheel(path: Path, version: str) -> None:
    """Whether a file is a wheel of the engine's version, whole and unchanged since it was packed.

    Raises:
        EngineSetupError
    """
    name = WheelName.parse(path.name)
    if name is None or name.package != PACKAGE:
        raise EngineSetupError(f"{path.name} is not a wheel of {PACKAGE}")
    if name.version != version:
        raise EngineSetupError(f"{path.name} has version {name.version}, Corral needs {version}")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as exc:
        raise EngineSetupError(
            f"{path.name} is damaged or incomplete: {exc}", hint="download it again"
        ) from None
    if damaged is not None:
        raise EngineSetupError(
            f"{path.name} is damaged: {damaged} does not match its checksum", hint="download it again"
        )
