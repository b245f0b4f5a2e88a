"""Whether the engine uses the GPUs of this machine, and what to do where it does not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cached_property
from pathlib import Path

from corral.childenv import child_environment
from corral.devices import GPU, read_cards, read_machine

_PROBE = "import json, xllamacpp as x; print(json.dumps([d['name'] for d in x.get_device_info()]))"
# A driver that wakes up sleeping cards takes seconds.
_PROBE_TIMEOUT_S = 30.0
_WHEELS = "https://xorbitsai.github.io/xllamacpp/whl"
_WHEEL_FOLDERS = {"cuda": "cu128", "rocm": "rocm-6.4.1"}
_CARDS = {"0x10de": ("NVIDIA", "nvidia-smi"), "0x1002": ("AMD", "rocm-smi")}


class EngineGPUs:
    """Answers for one engine: a binary, a package folder, or the installed package. Answers are worked out once.

    `library` limits what counts (`OLLAMA_LLM_LIBRARY`): `cpu`, or a backend's name with or without a version.
    """

    def __init__(
        self,
        *,
        server_path: Path | None = None,
        package_folder: Path | None = None,
        extra_env: dict[str, str] | None = None,
        library: str = "",
        has_integrated: bool = False,
    ) -> None:
        self._server_path = server_path
        self._package_folder = package_folder
        self._extra_env = extra_env or {}
        self._library = library
        self._has_integrated = has_integrated

    @cached_property
    def gpus(self) -> tuple[GPU, ...]:
        """The accelerators that the drivers' tools name."""
        return read_machine(with_gpus=True, with_integrated=self._has_integrated).gpus

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The engine's own names of the devices that it would use beside the processor."""
        names = self._server_devices() if self._server_path else self._package_devices()
        return tuple(name for name in names if not name.upper().startswith("CPU"))

    @cached_property
    def is_used(self) -> bool:
        """Whether models may go to a GPU. Without one that is known at once."""
        if self._library.startswith("cpu"):
            return False
        return bool(self.gpus) and (sys.platform == "darwin" or bool(self.devices))

    @cached_property
    def problem(self) -> tuple[str, str]:
        """What is wrong with the use of GPUs, and how to mend it; empty if nothing is."""
        if self.is_used or self._library.startswith("cpu"):
            return "", ""
        if self.gpus:
            names = ", ".join(dict.fromkeys(gpu.name for gpu in self.gpus))
            return (
                f"{names} is not used: the engine has no {self.gpus[0].library.upper()} backend",
                self._advice(),
            )
        for vendor, memory_bytes in read_cards():
            maker, tool = _CARDS.get(vendor, ("", ""))
            if maker and (maker == "NVIDIA" or memory_bytes >= 1 << 30):
                return (
                    f"a GPU of {maker} is not used: its driver does not answer ({tool})",
                    f"install the driver, so that `{tool}` lists the GPU",
                )
        return "", ""

    def _advice(self) -> str:
        if self._server_path is not None:
            return (
                f"name a llama-server that was built for it in CORRAL_LLAMA_SERVER (now {self._server_path})"
            )
        folder = _WHEEL_FOLDERS.get(self.gpus[0].library, "vulkan")
        return (
            f"pip install xllamacpp --force-reinstall --index-url {_WHEELS}/{folder}, or name a llama-server that was"
            " built for it in CORRAL_LLAMA_SERVER"
        )

    def _package_devices(self) -> tuple[str, ...]:
        env = {"PYTHONPATH": str(self._package_folder)} if self._package_folder else {}
        try:
            return tuple(map(str, json.loads(self._output([sys.executable, "-c", _PROBE], env))))
        except ValueError:
            return ()

    def _server_devices(self) -> tuple[str, ...]:
        return parse_device_list(self._output([str(self._server_path), "--list-devices"], {}))

    def _output(self, command: list[str], env: dict[str, str]) -> str:
        try:
            done = subprocess.run(
                command,
                env={**child_environment(), **self._extra_env, **env},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_PROBE_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout


def parse_device_list(text: str) -> tuple[str, ...]:
    """Names in what `llama-server --list-devices` prints: lines such as `  CUDA0: NVIDIA ... (24564 MiB, ...)`."""
    return tuple(re.findall(r"^\s+([A-Za-z]+\d+): ", text, re.MULTILINE))
