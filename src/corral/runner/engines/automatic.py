"""The engine of a server that was told none: the best installed one whose devices are really there.

An engine for CUDA or ROCm before one for Vulkan, that before one that was compiled for this processor, and that
before the built-in one: what a card's maker has written for it is faster than what runs on all, and a card is faster
than the processor. An engine of another version is passed over, and so is one that lists no device; both are said.
Nothing is ever downloaded here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from corral.config import Settings
from corral.gpus import EngineDevice, may_have_gpu, usable_devices
from corral.runner.engines.choice import (
    AUTO,
    BUILTIN,
    Engine,
    find_engine,
    installed_engines,
    stored_name,
    wheel_version,
)
from corral.runner.engines.environment import engine_variables
from corral.runner.engines.folders import NATIVE
from corral.runner.engines.gpus import EngineGPUs
from corral.runner.engines.probe import ProbeError, probe_devices
from corral.runner.interface import EngineChoice

_FOR_CARDS = ("cuda", "rocm", "vulkan")


@dataclass(frozen=True, slots=True)
class Resolved:
    """The engine that serves. `notes`: which better ones were passed over, and why.

    `devices`: what it lists, if it was asked. `is_automatic`: nobody chose it.
    """

    engine: Engine
    notes: tuple[str, ...] = ()
    devices: tuple[EngineDevice, ...] | None = None
    is_automatic: bool = False


def resolve_engine(
    settings: Settings,
    home: Path,
    env: Mapping[str, str] = os.environ,
    *,
    probe: Callable[..., tuple[EngineDevice, ...]] = probe_devices,
) -> Resolved:
    """The engine that the settings name, or `corral engine use`, or the best one.

    Engines for cards are asked for their devices where there may be a card: that takes up to seconds.

    Raises:
        UnknownEngineError: the one that was chosen does not exist, or has another version.
    """
    name = settings.llama_server or settings.engine or stored_name(home)
    if name and name.lower() != AUTO:
        return Resolved(find_engine(name, home))
    return _best(settings, home, env, probe)


def _best(
    settings: Settings, home: Path, env: Mapping[str, str], probe: Callable[..., tuple[EngineDevice, ...]]
) -> Resolved:
    variables = engine_variables(settings, env)
    found = {engine.name: engine for engine in installed_engines(home)}
    notes = []
    for name in _names(settings):
        engine = found.get(name)
        if engine is None or (name in _FOR_CARDS and not may_have_gpu()):
            continue
        if wheel_version() and engine.version != wheel_version():
            notes.append(
                f"the {name} engine is passed over: it has version {engine.version}, Corral needs {wheel_version()};"
                f" renew it: corral engine {'build' if name == NATIVE else f'install {name}'}"
            )
            continue
        if name not in _FOR_CARDS:
            return Resolved(engine, tuple(notes), is_automatic=True)
        try:
            devices = probe(package_folder=engine.package_folder, env=variables)
        except ProbeError as error:
            notes.append(f"the {name} engine is passed over: {error}")
            continue
        if usable_devices(devices, with_integrated=settings.counts_integrated):
            return Resolved(engine, tuple(notes), devices, is_automatic=True)
        notes.append(f"the {name} engine is passed over: it lists no device")
    return Resolved(Engine(BUILTIN), tuple(notes), is_automatic=True)


def _names(settings: Settings) -> tuple[str, ...]:
    """Which engines are tried, the best first. `OLLAMA_LLM_LIBRARY` and `OLLAMA_VULKAN` leave some out."""
    library = settings.llm_library.partition("_")[0]
    wanted = [name for name in _FOR_CARDS if name == library] if library else [*_FOR_CARDS]
    if not settings.uses_vulkan and "vulkan" in wanted:
        wanted.remove("vulkan")
    return (*wanted, NATIVE)


def choice_of(settings: Settings, resolved: Resolved, env: Mapping[str, str] = os.environ) -> EngineChoice:
    """The engine as children are started with it."""
    engine = resolved.engine
    return EngineChoice(engine.server_path, engine_variables(settings, env), engine.package_folder)


def gpus_of(settings: Settings, resolved: Resolved, env: Mapping[str, str] = os.environ) -> EngineGPUs:
    """The GPUs of the engine; they are looked up later."""
    return EngineGPUs(
        server_path=resolved.engine.server_path,
        package_folder=resolved.engine.package_folder,
        extra_env=engine_variables(settings, env),
        library=settings.llm_library,
        with_integrated=settings.counts_integrated,
        devices=resolved.devices,
    )
