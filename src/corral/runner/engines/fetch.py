"""Downloads a wheel of the engine with pip, shows how far it is, and says in words why it failed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from corral.runner.engines import pip, wheels
from corral.runner.engines.folders import EngineSetupError
from corral.runner.engines.placing import FETCHED, Progress, backend_of, no_space, pip_environment

_SIZE = re.compile(r"\bDownloading .*?\((\d+(?:\.\d+)?) ([kMG]?B)\)")
_UNITS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
# What pip says when the network is at fault, or the file that came is not the one that was promised.
_NETWORK = re.compile(
    r"Connection broken|Read timed out|ReadTimeout|ConnectTimeout|IncompleteRead|ConnectionError|Connection aborted|"
    r"Failed to establish|Max retries exceeded|Name or service not known|name resolution|RemoteDisconnected|"
    r"HTTP error 5\d\d|5\d\d Server Error|IncompleteDownload|not enough bytes|SSLError|Network is unreachable"
)
_DAMAGED = re.compile(
    r"DO NOT MATCH THE HASHES|[Hh]ash(?:es)? mismatch|Expected sha256|BadZipFile|is invalid\b"
)
_UNTRUSTED = re.compile(r"not a trusted or secure host")
_DENIED = re.compile(r"\b(401|403)\b.*(?:Unauthorized|Forbidden|Client Error)")
_ATTEMPTS = 3


def fetch(
    addresses: tuple[str, ...], work: Path, log: Path, version: str, name: str, on_progress: Progress
) -> tuple[str, Path]:
    """Download the wheel of a version from the first index that has it; returns the index and the file.

    Raises:
        EngineSetupError
        OSError: the disk cannot be written.
    """
    errors: list[EngineSetupError] = []
    for address in addresses:
        try:
            return address, _download(address, work, log, version, name, on_progress)
        except _NotThereError as exc:
            errors.append(exc)
    raise errors[0]


class _NotThereError(EngineSetupError):
    """An index does not have the wheel; the next one may."""


def _download(address: str, work: Path, log: Path, version: str, name: str, on_progress: Progress) -> Path:
    """Download the wheel from one index."""
    target, empty = work / "wheel", work / "empty"
    empty.mkdir(exist_ok=True)
    command = [
        *pip.pip_command(),
        "download",
        "-vv",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--no-cache-dir",
    ]
    command += [
        "--no-input",
        "--disable-pip-version-check",
        "--dest",
        str(target),
        f"{wheels.PACKAGE}=={version}",
    ]
    env = pip_environment(work, pip.source_variables(address, empty))
    shown = pip.without_secrets(address)
    for attempt in range(_ATTEMPTS):
        shutil.rmtree(target, ignore_errors=True)
        meter = _Meter(work / "tmp", shown, on_progress)
        output = pip.run(command, env=env, log=log, on_line=meter.read, on_tick=meter.tick)
        if output.status == 0:
            return next(target.glob("*.whl"))
        if attempt + 1 == _ATTEMPTS or not _is_interrupted(output):
            break
        on_progress(0.0, f"interrupted, trying again ({output.reason()})")
    raise _fetch_error(output, shown, version, backend_of(name))


def _is_interrupted(output: pip.Output) -> bool:
    text = "\n".join(output.lines)
    return (
        not output.is_out_of_space
        and "Downloading" in text
        and bool(_NETWORK.search(text) or _DAMAGED.search(text))
    )


def _fetch_error(output: pip.Output, address: str, version: str, backend: str) -> EngineSetupError:
    text = "\n".join(output.lines)
    if output.is_out_of_space:
        return no_space()
    if _DAMAGED.search(text):
        return EngineSetupError(
            f"what {address} sent is damaged: {_damage(text, output)}",
            hint="nothing was changed; try again",
        )
    if _UNTRUSTED.search(text):
        return EngineSetupError(
            f"{address} is not encrypted, so pip does not trust it",
            hint="use https, or name its host in PIP_TRUSTED_HOST",
        )
    if _DENIED.search(text):
        return EngineSetupError(
            f"{address} refuses access",
            hint="put the user name and password into the address: https://NAME:PASSWORD@HOST/",
        )
    seen = wheels.seen_wheels(output.lines)
    if not seen and _NETWORK.search(text):
        return EngineSetupError(
            f"{address} cannot be reached: {_network_reason(output)}",
            hint="check the network and the proxy; offline, name a mirror with --index-url or a file with --wheel",
        )
    if "Downloading" in text and _NETWORK.search(text):
        return EngineSetupError(
            f"the download from {address} was interrupted: {_network_reason(output)}",
            hint="nothing was changed; try again",
        )
    if "No matching distribution" not in text:
        return EngineSetupError(f"pip could not download the engine: {output.reason()}")
    error = wheels.no_wheel_error(version, address, seen, backend)
    return _NotThereError(str(error), hint=error.hint)


def _damage(text: str, output: pip.Output) -> str:
    """What is wrong with a file; pip speaks of a requirements file where an index names the digest."""
    digests = re.search(r"Expected sha256 (\w+).*?Got\s+(\w+)", text, re.DOTALL)
    return f"its sha256 is {digests[2]}, the index says {digests[1]}" if digests else output.reason()


def _network_reason(output: pip.Output) -> str:
    lines = [line.strip() for line in output.lines if _NETWORK.search(line)]
    return (lines or [output.reason()])[-1][:300]


class _Meter:
    """How far a download is: pip says how much it will be, and its temporary file how much is here."""

    def __init__(self, folder: Path, address: str, on_progress: Progress) -> None:
        self._folder = folder
        self._address = address
        self._on_progress = on_progress
        self._total_bytes = 0.0
        self._most_bytes = 0

    def read(self, line: str) -> None:
        if found := _SIZE.search(line):
            self._total_bytes = float(found[1]) * _UNITS[found[2]]

    def tick(self) -> None:
        if not self._total_bytes:
            self._on_progress(0.0, f"looking for it in {self._address}")
            return
        sizes = [_size(path) for path in self._folder.rglob("*.whl")]
        self._most_bytes = max(self._most_bytes, *sizes, 0)
        share = min(self._most_bytes / self._total_bytes, 1.0)
        text = f"downloading {self._most_bytes / 1e6:.0f} of {self._total_bytes / 1e6:.0f} MB"
        self._on_progress(FETCHED * share, text)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
