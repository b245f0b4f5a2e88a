"""Which GPUs an engine uses, how much of their memory is free, and what to do where it uses none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corral.gpus import (
    GPU,
    EngineDevice,
    is_jetson,
    may_have_gpu,
    merged,
    read_cards,
    read_gpus,
    usable_devices,
)
from corral.runner.engines.probe import ProbeError, probe_devices

# The makers' PCI numbers.
_NVIDIA, _AMD, _INTEL = "0x10de", "0x1002", "0x8086"
_NO_BACKEND = "the engine has no backend for it"
# There is no ready-made engine for its kind of card; JetPack brings the CUDA toolkit.
JETSON_BUILD = "corral engine build cuda --arch 87 (Orin; Xavier: 72)"
_LEAST_CARD_BYTES = 1 << 30


class EngineGPUs:
    """Answers for one engine: a binary, a package folder, or the installed package.

    What the engine lists is asked once, until `look_again`. `library` limits what counts (`OLLAMA_LLM_LIBRARY`):
    `cpu`, or a backend's name with or without a version. `with_integrated`: see `gpus.usable_devices`. `devices`:
    what it lists, if that is known. May be used by several threads.
    """

    def __init__(
        self,
        *,
        server_path: Path | None = None,
        package_folder: Path | None = None,
        extra_env: dict[str, str] | None = None,
        library: str = "",
        with_integrated: bool | None = None,
        devices: tuple[EngineDevice, ...] | None = None,
        probe: Callable[..., tuple[EngineDevice, ...]] = probe_devices,
    ) -> None:
        self._engine: dict[str, Any] = {
            "server_path": server_path,
            "package_folder": package_folder,
            "env": extra_env or {},
        }
        self._library = library
        self._with_integrated = with_integrated
        self._probe = probe
        self._lock = threading.Lock()
        self._devices = devices
        # The answer of the last `problem()`.
        self.known_problem = ("", "")
        self._had_devices = False
        self.failure = ""

    @property
    def devices(self) -> tuple[EngineDevice, ...]:
        """All that the engine lists; empty if it cannot be asked, and `failure` then says why."""
        with self._lock:
            if self._devices is None:
                self._devices = self._ask()
            return self._devices

    def _ask(self) -> tuple[EngineDevice, ...]:
        self.failure = ""
        try:
            return self._probe(**self._engine)
        except ProbeError as error:
            self.failure = str(error)
            return ()

    def look_again(self) -> None:
        """Ask the engine anew when its devices are needed next: one may have been lost, or have come back."""
        with self._lock:
            self._devices = None

    @property
    def is_for_cpu(self) -> bool:
        return self._library.startswith("cpu")

    def read(self, total_bytes: int, free_bytes: int) -> tuple[GPU, ...]:
        """The devices that the engine uses, with what is free on them now; takes up to seconds, raises nothing.

        `total_bytes` and `free_bytes` are the machine's. A device whose free memory nobody else knows is asked for
        with the engine again, and so are devices that are gone. On a machine without GPUs nobody is asked.
        """
        if self.is_for_cpu:
            return ()
        tools = self.tools(total_bytes, free_bytes)
        if not tools and not may_have_gpu():
            return ()
        is_new = self._devices is None
        gpus = self._merged(tools, total_bytes, free_bytes)
        is_lost = self._had_devices and not gpus
        self._had_devices = self._had_devices or bool(gpus)
        if not is_new and (is_lost or any(not gpu.is_measured for gpu in gpus)):
            self.look_again()
            gpus = self._merged(tools, total_bytes, free_bytes)
        return gpus

    def _merged(self, tools: tuple[GPU, ...], total_bytes: int, free_bytes: int) -> tuple[GPU, ...]:
        devices = usable_devices(self.devices, with_integrated=self._with_integrated)
        return merged(devices, tools, total_bytes, free_bytes)

    def tools(self, total_bytes: int = 0, free_bytes: int = 0) -> tuple[GPU, ...]:
        """The GPUs that the drivers' tools name."""
        return read_gpus(total_bytes, free_bytes, with_integrated=bool(self._with_integrated))

    @property
    def is_used(self) -> bool:
        """Whether models may go to a GPU. Without one that is known at once."""
        return bool(self.read(0, 0))

    def problem(self) -> tuple[str, str]:
        """What is wrong with the use of GPUs, and how to mend it; empty if nothing is."""
        self.known_problem = self._problem()
        return self.known_problem

    def _problem(self) -> tuple[str, str]:
        if self.is_for_cpu:
            return "", ""
        tools = self.tools()
        if not tools and not may_have_gpu():
            return "", ""
        if usable_devices(self.devices, with_integrated=True):
            return "", ""
        if tools:
            names = ", ".join(dict.fromkeys(gpu.name for gpu in tools))
            wanted = dict.fromkeys(gpu.library for gpu in tools)
            reason = (
                self.failure or f"the engine has no {' or '.join(name.upper() for name in wanted)} backend"
            )
            return f"{names} is not used: {reason}", self._advice(next(iter(wanted)))
        return self._unseen_card()

    def _unseen_card(self) -> tuple[str, str]:
        """A card that the kernel sees and no tool: its driver is missing, or an engine for it.

        Graphics inside a processor is no loss: it is rarely faster than the processor.
        """
        if is_jetson():
            what = f"the GPU of this Jetson is not used: {self.failure or _NO_BACKEND}"
            return what, f"compile an engine for it: {JETSON_BUILD}"
        for card in read_cards():
            if card.vendor == _NVIDIA:
                what = "a GPU of NVIDIA is not used: its driver does not answer (nvidia-smi)"
                return what, f"install the driver, so that `nvidia-smi` lists the GPU; then {install('cuda')}"
            # Their drivers are parts of the kernel, and Mesa brings Vulkan for them; ROCm is not needed.
            if card.vendor == _AMD and card.memory_bytes >= _LEAST_CARD_BYTES:
                return f"a GPU of AMD is not used: {self.failure or _NO_BACKEND}", self._advice("vulkan")
            if card.vendor == _INTEL and not card.is_integrated:
                return f"a GPU of Intel is not used: {self.failure or _NO_BACKEND}", self._advice("vulkan")
        return "", ""

    def _advice(self, engine: str) -> str:
        path = self._engine["server_path"]
        other = (
            f", or name a llama-server that was built for it in CORRAL_LLAMA_SERVER (now {path})"
            if path
            else ""
        )
        return install(engine) + other


def install(engine: str) -> str:
    """The command that installs an engine for a kind of card."""
    return f"corral engine install {engine}"
