"""Which engine suits the cards of this machine, from what drivers, kernel and libraries say."""

from __future__ import annotations

import ctypes.util
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from corral.gpus import GPU, is_jetson, read_cards, read_gpus
from corral.runner.engines import wheels
from corral.runner.engines.gpus import JETSON_BUILD
from corral.runner.engines.toolchain import rocm_root
from corral.systemtext import read_text, run_tool

_CUDA_VERSION = re.compile(r"CUDA (?:UMD |Driver )?Version\s*:\s*(\d+)\.(\d+)")
_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}


@dataclass(frozen=True, slots=True)
class Advice:
    """`name`: the engine to install, empty if the built-in one is the best; `reason` for people."""

    name: str
    reason: str


def advise(root: Path = Path("/")) -> Advice:
    """The engine for this machine's cards. Takes as long as the drivers' tools, up to seconds."""
    if sys.platform == "darwin":
        return Advice("", f"the built-in engine uses the GPU of this {platform.machine()} Mac, if it has one")
    if is_jetson(root):
        return Advice("", f"a Jetson, for which there is no ready-made engine; compile one: {JETSON_BUILD}")
    gpus = read_gpus(0, 0)
    for gpu in gpus:
        if gpu.library == "cuda":
            return Advice("cuda", f"{gpu.name}: CUDA")
    vendors = [_VENDORS[card.vendor] for card in read_cards(root) if card.vendor in _VENDORS]
    if "AMD" in vendors or any(gpu.library == "rocm" for gpu in gpus):
        if has_rocm():
            return Advice("rocm", "a card of AMD, and ROCm is installed")
        return Advice("vulkan", "a card of AMD without ROCm: Vulkan, which Mesa brings")
    if "Intel" in vendors:
        return Advice("vulkan", "graphics of Intel: Vulkan")
    if "NVIDIA" in vendors:
        return Advice(
            "cuda", "a card of NVIDIA, whose driver does not answer (nvidia-smi): CUDA, once it does"
        )
    return Advice("", "there is no graphics card here that the engine could use; the built-in engine serves")


def has_rocm() -> bool:
    """Whether ROCm's libraries are here; its wheels do not bring them."""
    return rocm_root() is not None or ctypes.util.find_library("amdhip64") is not None


def index_folder(name: str) -> str:
    """The folder of the wheels' index for an engine and this machine's driver.

    Raises:
        EngineSetupError: no ready-made build can run here.
    """
    if name == "cuda":
        return wheels.cuda_folder(driver_version(), [gpu.compute for gpu in cuda_cards()])
    if name == "rocm":
        return wheels.rocm_folder(rocm_version())
    return name


def cuda_cards() -> tuple[GPU, ...]:
    return tuple(gpu for gpu in read_gpus(0, 0) if gpu.library == "cuda")


def driver_version() -> tuple[int, int] | None:
    """The newest CUDA version that the NVIDIA driver supports; None without a driver."""
    found = _CUDA_VERSION.search(run_tool(["nvidia-smi"]))
    return (int(found[1]), int(found[2])) if found else None


def rocm_version() -> tuple[int, ...]:
    """The version of ROCm that is installed; empty if it does not say."""
    root = rocm_root() or Path("/opt/rocm")
    return tuple(map(int, re.findall(r"\d+", read_text(root / ".info/version"))[:3]))
