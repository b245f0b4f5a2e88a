"""Starts engines: the folder of their sockets, the order for the child, and the runner that talks to it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from corral.errors import EngineError, RunnerExitedError, RunnerStartError
from corral.runner import llama_server
from corral.runner.acceptance import Guesses
from corral.runner.cache_owner import CacheOwner
from corral.runner.engine import EngineRunner
from corral.runner.engines.choice import wheel_version
from corral.runner.interface import EngineChoice, Runner, RunnerSpec
from corral.runner.process import EngineProcess, child_variables, make_socket_folder
from corral.runner.prompt_states import PromptStates
from corral.runner.spare import Spare

_log = logging.getLogger("corral.runner")


class EngineFactory:
    """Starts children. Owns the folder of their sockets; `close` removes it.

    `has_cache_per_key`: no API key's prompts are reused for another's, so none are kept on disk either.
    """

    def __init__(
        self,
        engine: EngineChoice,
        *,
        max_waiting: int = 512,
        hang_timeout_s: float = 300.0,
        states: PromptStates | None = None,
        has_cache_per_key: bool = False,
        spare: Spare | None = None,
    ) -> None:
        self._spare = spare
        self._states = None if has_cache_per_key else states
        self._has_cache_per_key = has_cache_per_key
        self._engine = engine
        self._max_waiting = max_waiting
        self._hang_timeout_s = hang_timeout_s
        self._folder: Path | None = None
        self._serial = itertools.count(1)
        self._guesses = Guesses()

    async def start(self, spec: RunnerSpec, on_progress: Callable[[float], None]) -> Runner:
        spec = self._guesses.allowed(spec, is_external=self._engine.server_path is not None)
        try:
            return await self._start(spec, on_progress)
        except RunnerStartError:
            if (
                spec.speculation is None
                or spec.speculation.kind != "draft-mtp"
                or spec.draft_path is not None
            ):
                raise
            _log.warning("the engine cannot use the model's own heads; loading without model=%s", spec.name)
            return await self._start(replace(spec, speculation=None), on_progress)

    async def _start(self, spec: RunnerSpec, on_progress: Callable[[float], None]) -> Runner:
        if self._folder is None:
            self._folder = make_socket_folder()
        socket_path = self._folder / f"{next(self._serial)}.sock"
        key = secrets.token_hex(16)
        order = llama_server.start_order(spec, self._engine, socket_path=str(socket_path), key=key)
        folder = await self._prompts_folder(order)
        order = llama_server.with_arguments(order, folder)
        process = await self._child(order, spec.name)
        try:
            await process.wait_ready(on_progress)
            runner = EngineRunner(
                spec,
                process,
                socket_path,
                key,
                max_waiting=self._max_waiting,
                hang_timeout_s=self._hang_timeout_s,
                states=self._states,
                prompts_folder=folder,
                cache_owner=CacheOwner(is_on=self._has_cache_per_key),
                note_guesses=partial(self._guesses.note, spec),
            )
            try:
                await runner.load_facts()
            except (EngineError, RunnerExitedError, KeyError, orjson.JSONDecodeError) as exc:
                await runner.close()
                raise RunnerStartError(
                    f"llama-server does not answer as expected: {exc}", log_tail=process.log_tail
                ) from exc
        except BaseException:
            await process.close()
            raise
        return runner

    async def _child(self, order: dict[str, Any], name: str) -> EngineProcess:
        environment = child_variables(self._engine.extra_env)
        spare = self._spare.take(self._engine, environment) if self._spare is not None else None
        if spare is None:
            return await EngineProcess.spawn(order, self._engine.extra_env, name)
        spare.begin(order, name)
        return spare

    async def _prompts_folder(self, order: dict[str, Any]) -> Path | None:
        if self._states is None:
            return None
        name = str(self._engine.server_path or self._engine.package_folder or "wheel")
        files = (self._engine.server_path,) if self._engine.server_path else ()
        return await asyncio.to_thread(self._states.folder_of, order, f"{name} {wheel_version()}", files)

    def close(self) -> None:
        """Remove the socket folder; call after the last runner is closed."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
