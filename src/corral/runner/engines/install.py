"""Installs a ready-made build of the engine: exactly Corral's version, fetched by pip, proven, then put into place.

The engine of before stays until the new one has been imported and has listed its devices. Nothing that goes wrong
before (network, disk, a damaged or foreign wheel, a signal) touches it.
"""

from __future__ import annotations

from pathlib import Path

from corral.runner.engines import pip
from corral.runner.engines.choice import wheel_version
from corral.runner.engines.facts import EngineFacts
from corral.runner.engines.fetch import fetch
from corral.runner.engines.folders import EngineSetupError, engines_folder, locked, workplace
from corral.runner.engines.placing import Progress, backend_of, disk_errors, unpack


def install_engine(
    home: Path,
    name: str,
    *,
    addresses: tuple[str, ...] = (),
    wheel: Path | None = None,
    on_progress: Progress = lambda _share, _text: None,
) -> EngineFacts:
    """Install the engine of a name (see `folders.NAMES`) from the first index that has it, or from a wheel's file.

    `on_progress` hears the share that is done (0 to 1) and what is being done.

    Raises:
        EngineSetupError: nothing was changed.
    """
    wanted = wheel_version()
    if not wanted:
        raise EngineSetupError("the xllamacpp package is not installed, so its version is not known")
    if wheel is not None and not wheel.is_file():
        raise EngineSetupError(f"{wheel} is not a file")
    with locked(home), disk_errors(home), workplace(home, name) as work:
        log = engines_folder(home) / "install.log"
        log.write_text("")
        source, origin = ("wheel", wheel.name) if wheel else ("index", "")
        if wheel is None:
            origin, wheel = fetch(addresses, work, log, wanted, name, on_progress)
        facts = EngineFacts(name, wanted, backend_of(name), source, pip.without_secrets(origin))
        return unpack(home, facts, wheel, work, log, on_progress)
