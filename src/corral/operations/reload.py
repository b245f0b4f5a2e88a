"""Reads the configuration again while the server runs: at SIGHUP, and when a file has changed.

Each part of the server that can take new settings says which, and prepares them; what it prepared is put in place on
the event loop once all parts have. If a file cannot be used, or a part cannot, everything stays as it was.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from corral.config import Settings
from corral.configfile.reading import config_paths
from corral.errors import CorralError
from corral.lifetime import Lifetime
from corral.operations.certificates import Certificates
from corral.operations.sdnotify import notify
from corral.settingstable import SETTINGS

_log = logging.getLogger("corral.config")
_WATCH_S = 2.0
_PATHS = {setting.field: setting.path for setting in SETTINGS}
# Not settings, or not what a running server depends on.
_IGNORED = frozenset({"warnings", "files"})

Commit = Callable[[], None]
Prepare = Callable[[Settings], Commit]


@dataclass(frozen=True, slots=True)
class Part:
    """`fields`: those of `Settings` that it takes. `prepare` may block and raise CorralError; its result may not."""

    fields: frozenset[str]
    prepare: Prepare


class Reloader:
    """Knows the settings in use. All of it is for the event loop."""

    def __init__(
        self,
        settings: Settings,
        parts: Iterable[Part],
        certificates: Certificates | None = None,
        load: Callable[[], Settings] = Settings.load,
    ) -> None:
        self.settings = settings
        self._parts = tuple(parts)
        self._certificates = certificates
        self._load = load
        self._stamps = _stamps()
        self._turn = asyncio.Lock()

    def has_something_to_read(self) -> bool:
        """Whether there is a configuration file, or a certificate. For any thread."""
        return self._certificates is not None or any(path.exists() for path in config_paths(os.environ))

    async def watch(self) -> None:
        """Look for changes forever."""
        while True:
            await asyncio.sleep(_WATCH_S)
            if self._certificates is not None:
                await asyncio.to_thread(self._certificates.refresh)
            stamps = await asyncio.to_thread(_stamps)
            if stamps != self._stamps:
                await self.reload()

    async def reload(self) -> bool:
        """Read everything again; False if it stays as it was because something is wrong."""
        async with self._turn:
            notify("RELOADING=1")
            try:
                return await self._reload()
            finally:
                notify("READY=1")

    async def _reload(self) -> bool:
        self._stamps = await asyncio.to_thread(_stamps)
        try:
            settings, commits = await asyncio.to_thread(self._prepare)
        except CorralError as exc:
            _log.error("the configuration stays as it was: %s", exc)
            return False
        changed = _changed(self.settings, settings)
        for commit in commits:
            commit()
        self.settings = settings
        self._report(settings, changed)
        return True

    def _prepare(self) -> tuple[Settings, list[Commit]]:
        if self._certificates is not None:
            self._certificates.refresh()
        settings = self._load()
        changed = _changed(self.settings, settings)
        return settings, [part.prepare(settings) for part in self._parts if part.fields & changed]

    def _report(self, settings: Settings, changed: frozenset[str]) -> None:
        for warning in settings.warnings:
            _log.warning(warning)
        live = frozenset[str]().union(*(part.fields for part in self._parts))
        names = ", ".join(sorted(_PATHS.get(name, name) for name in changed & live))
        _log.info('configuration read changed="%s"', names)
        if fixed := sorted(_PATHS.get(name, name) for name in changed - live):
            _log.warning("changed, but needs a restart to take effect: %s", ", ".join(fixed))


def follow_configuration(
    settings: Settings, parts: Iterable[Part], certificates: Certificates | None, lifetime: Lifetime
) -> None:
    """Take new settings while the server runs; call it on the event loop."""
    reloader = Reloader(settings, parts, certificates)
    loop = asyncio.get_running_loop()

    async def reload() -> None:
        await reloader.reload()

    def begin() -> bool:
        if not reloader.has_something_to_read():
            return False
        loop.call_soon_threadsafe(lambda: lifetime.watch(reload()))
        return True

    lifetime.reload = begin
    if lifetime.wants_reload:
        begin()
    lifetime.watch(reloader.watch())


def _changed(before: Settings, after: Settings) -> frozenset[str]:
    names = (field.name for field in fields(Settings) if field.name not in _IGNORED)
    return frozenset(name for name in names if getattr(before, name) != getattr(after, name))


def _stamps() -> tuple[tuple[int, int, int], ...]:
    return tuple(map(_stamp, config_paths(os.environ)))


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file is replaced or written; zeros without one."""
    try:
        info = path.stat()
    except OSError:
        return (0, 0, 0)
    return (info.st_ino, info.st_size, info.st_mtime_ns)
