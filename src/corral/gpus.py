"""The GPUs of this machine as plain values: what the drivers' tools name, and what an engine lists.

Reads `nvidia-smi`, `rocm-smi` and `/sys` without judging them, and never raises: what cannot be read counts as
absent. Only an engine knows which devices it can use; a tool or the kernel knows how much of their memory is free.
`merged` puts both together. Parsers take text, readers take a root folder.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from corral.systemtext import parse_int, read_text, run_tool

_MIB = 1 << 20
_GIB = 1 << 30
_NVIDIA_FIELDS = "name,memory.total,memory.free"
# Drivers before 510 do not know `compute_cap`, and then answer nothing at all.
_NVIDIA_QUERIES = (f"index,pci.bus_id,compute_cap,{_NVIDIA_FIELDS}", f"index,{_NVIDIA_FIELDS}")
_PCI = re.compile(r"(?:0000)?([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f])", re.IGNORECASE)
# Integrated graphics reports a carve-out of this order as its own memory (Raphael: 64 MiB).
_SMALLEST_DISCRETE_BYTES = _GIB
# The engine's names of devices, without their numbers, and what Ollama calls the backend.
_LIBRARIES = {
    "cuda": "cuda",
    "rocm": "rocm",
    "hip": "rocm",
    "mtl": "metal",
    "metal": "metal",
    "vulkan": "vulkan",
}
# Strix Halo: integrated graphics as fast as a card. Ollama knows it by the same names (ml/device.go).
_FAST_INTEGRATED = re.compile(r"gfx1151|strix[ _]halo|radeon 80[56]0s", re.IGNORECASE)
# A MIG slice is listed with the bus id of the card that it is a part of.
_SAME_SIZE_SHARE = (9, 10)
# What shows that there may be a GPU, without asking any driver: NVIDIA, Jetson, AMD, all that Vulkan uses, WSL.
_JETSON_TRACES = ("dev/nvhost-gpu", "dev/nvgpu")
_TRACES = ("dev/nvidiactl", *_JETSON_TRACES, "dev/kfd", "dev/dri", "dev/dxg")


@dataclass(frozen=True, slots=True)
class GPU:
    """One accelerator. `is_unified`: its memory is the machine's own, shared with the CPU.

    `device` is the engine's name of it, such as `CUDA0`, and `index` its place in the engine's list; without a name
    only a driver's tool has seen it, and the index is the tool's. `library` is the backend: `cuda`, `rocm`, `metal`,
    `vulkan`, `sycl`. `pci` as in `0000:01:00.0`. `compute` is the version of a CUDA device's instructions.
    `is_measured`: `free_bytes` comes from now, not from when the engine was asked.
    """

    index: int
    name: str
    library: str
    total_bytes: int
    free_bytes: int
    is_unified: bool = False
    device: str = ""
    pci: str = ""
    compute: tuple[int, int] | None = None
    is_measured: bool = True

    @property
    def key(self) -> str:
        """What tells it from all others: the engine's name if it has one."""
        return self.device or f"{self.library}{self.index}"


@dataclass(frozen=True, slots=True)
class EngineDevice:
    """An entry of an engine's device list. `kind`: `gpu`, `igpu` (integrated), `accel` or `cpu`."""

    name: str
    description: str
    kind: str
    total_bytes: int
    free_bytes: int
    pci: str = ""

    @property
    def library(self) -> str:
        """The backend, in lower case."""
        prefix = self.name.rstrip("0123456789").lower()
        return _LIBRARIES.get(prefix, prefix)


def may_have_gpu(root: Path = Path("/")) -> bool:
    """Whether it is worth asking anybody: False on a machine without any trace of a GPU."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    # A software device has no trace, and is used only where somebody asks for it.
    if os.environ.get("GGML_VK_VISIBLE_DEVICES", "").strip():
        return True
    return any((root / trace).exists() for trace in _TRACES) or bool(read_cards(root))


def read_gpus(total_bytes: int, free_bytes: int, *, with_integrated: bool = False) -> tuple[GPU, ...]:
    """Ask each vendor's tool; `total_bytes` and `free_bytes` are the machine's, for unified memory."""
    if sys.platform == "darwin":
        return _metal_gpus(total_bytes, free_bytes) if platform.machine() == "arm64" else ()
    gpus: tuple[GPU, ...] = ()
    for fields in _NVIDIA_QUERIES:
        text = run_tool(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"])
        if gpus := parse_nvidia_smi(text, total_bytes, free_bytes):
            break
    rocm = run_tool(["rocm-smi", "--showproductname", "--showbus", "--showmeminfo", "vram", "--json"])
    return _visible((*gpus, *parse_rocm_smi(rocm, with_integrated=with_integrated)))


def parse_nvidia_smi(text: str, total_bytes: int, free_bytes: int) -> tuple[GPU, ...]:
    """Parse `index[, pci.bus_id, compute_cap], name, memory.total, memory.free` lines (MiB).

    A part with unified memory (GB10, Jetson) answers `[N/A]` for memory: it shares the machine's.
    """
    gpus = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) < 4 or not fields[0].isdigit():
            continue
        pci = parse_pci(fields[1]) if len(fields) > 5 else ""
        first = 3 if pci else 1
        # A name may itself hold a comma; the other fields never do.
        name = ", ".join(fields[first:-2])
        total, free = parse_int(fields[-2]), parse_int(fields[-1])
        is_unified = total is None
        gpus.append(
            GPU(
                index=int(fields[0]),
                name=name,
                library="cuda",
                total_bytes=total * _MIB if total is not None else total_bytes,
                free_bytes=min(free_bytes, total_bytes) if is_unified else (free or 0) * _MIB,
                is_unified=is_unified,
                pci=pci,
                compute=_compute(fields[2]) if pci else None,
            )
        )
    return tuple(gpus)


def _compute(text: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d{1,3})\.(\d{1,3})", text)
    return (int(found[1]), int(found[2])) if found else None


def parse_pci(text: str) -> str:
    """A PCI address as Linux writes it, `0000:01:00.0`; empty if it is none. NVIDIA's has eight digits first."""
    found = _PCI.fullmatch(text.strip())
    return found[1].lower() if found else ""


def parse_rocm_smi(text: str, *, with_integrated: bool = False) -> tuple[GPU, ...]:
    """Parse `rocm-smi --showproductname --showbus --showmeminfo vram --json`.

    Integrated graphics is left out by default.
    """
    start = text.find("{")  # warnings may precede the object
    try:
        cards = json.loads(text[start:]) if start >= 0 else {}
    except (ValueError, RecursionError):
        return ()
    gpus = []
    for key, card in cards.items() if isinstance(cards, dict) else ():
        number = re.fullmatch(r"card(\d+)", key)
        if number is None or not isinstance(card, dict):
            continue
        total = parse_int(str(card.get("VRAM Total Memory (B)", "")))
        used = parse_int(str(card.get("VRAM Total Used Memory (B)", "")))
        if total is None or (total < _SMALLEST_DISCRETE_BYTES and not with_integrated):
            continue
        name = str(card.get("Card Series") or card.get("Card series") or "AMD GPU")
        pci = parse_pci(str(card.get("PCI Bus", "")))
        gpus.append(GPU(int(number[1]), name, "rocm", total, max(total - (used or 0), 0), pci=pci))
    return tuple(sorted(gpus, key=lambda gpu: gpu.index))


class Card(NamedTuple):
    """A graphics card that the kernel sees: its vendor's PCI number, and its memory in bytes (0: unknown).

    `is_integrated`: it is part of the processor, as far as its address shows that.
    """

    vendor: str
    memory_bytes: int
    is_integrated: bool = False


def read_cards(root: Path = Path("/")) -> list[Card]:
    """All display controllers on the PCI bus."""
    cards = []
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        if read_text(device / "class").startswith("0x03"):  # display controllers
            memory_bytes = parse_int(read_text(device / "mem_info_vram_total")) or 0
            is_integrated = device.name.startswith("0000:00:")
            cards.append(Card(read_text(device / "vendor"), memory_bytes, is_integrated))
    return cards


def is_jetson(root: Path = Path("/")) -> bool:
    """Whether this is a Jetson of NVIDIA, whose GPU is on no bus; many have no `nvidia-smi`."""
    return any((root / trace).exists() for trace in _JETSON_TRACES)


def _metal_gpus(total_bytes: int, free_bytes: int) -> tuple[GPU, ...]:
    # What Metal lets one process wire: two thirds of the memory, three quarters above 36 GiB.
    share = total_bytes * 3 // 4 if total_bytes > 36 * _GIB else total_bytes * 2 // 3
    return (GPU(0, "Apple GPU", "metal", share, min(share, free_bytes), is_unified=True),)


def _visible(gpus: tuple[GPU, ...]) -> tuple[GPU, ...]:
    """Apply the variables that hide GPUs from the engine. Identifiers other than numbers are ignored."""
    for name, library in (
        ("CUDA_VISIBLE_DEVICES", "cuda"),
        ("ROCR_VISIBLE_DEVICES", "rocm"),
        ("HIP_VISIBLE_DEVICES", "rocm"),
    ):
        text = os.environ.get(name)
        if text is None:
            continue
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        if all(re.fullmatch(r"-?\d+", entry) for entry in entries):
            # An invalid entry such as -1 ends the list, as in the CUDA runtime.
            wanted: list[int] = []
            for entry in entries:
                if int(entry) < 0:
                    break
                wanted.append(int(entry))
            gpus = tuple(gpu for gpu in gpus if gpu.library != library or gpu.index in wanted)
    return gpus


# --- the engine's list -------------------------------------------------------------------------------------


def usable_devices(
    devices: Sequence[EngineDevice], *, with_integrated: bool | None
) -> tuple[tuple[int, EngineDevice], ...]:
    """The devices on which the engine puts layers, each with its number in the engine's `main_gpu`.

    The engine uses all cards, and integrated graphics only if there is no card. `with_integrated` None: such graphics
    counts only where it is fast (CUDA, Metal, Strix Halo), as Ollama has it.
    """
    cards = [device for device in devices if device.kind == "gpu" and device.total_bytes > 0]
    chosen = cards or [device for device in devices if device.kind == "igpu" and device.total_bytes > 0]
    return tuple(
        (index, device)
        for index, device in enumerate(chosen)
        if cards or (with_integrated if with_integrated is not None else _is_fast(device))
    )


def _is_fast(device: EngineDevice) -> bool:
    return device.library in ("cuda", "metal") or bool(_FAST_INTEGRATED.search(device.description))


def merged(
    devices: Sequence[tuple[int, EngineDevice]],
    tools: Sequence[GPU],
    total_bytes: int,
    free_bytes: int,
    root: Path = Path("/"),
) -> tuple[GPU, ...]:
    """The engine's devices with the memory that is free now; `total_bytes` and `free_bytes` are the machine's.

    A device is found among the tools' by its PCI address, else by its name, else by its place in a list of as many.
    The free memory of a slice (MIG) is known to the engine alone.
    """
    listed = [device for _, device in devices]
    return tuple(
        _one(index, device, _tool_of(place, listed, tools), total_bytes, free_bytes, root)
        for place, (index, device) in enumerate(devices)
    )


def _tool_of(place: int, devices: Sequence[EngineDevice], tools: Sequence[GPU]) -> GPU | None:
    device = devices[place]
    if device.pci and (found := [gpu for gpu in tools if gpu.pci == device.pci]):
        return found[0]
    unplaced = [gpu for gpu in tools if not (gpu.pci and device.pci)]
    named = [gpu for gpu in unplaced if gpu.name == device.description]
    before = [other.description for other in devices[:place]].count(device.description)
    if named and len(named) == [other.description for other in devices].count(device.description):
        return named[before]
    of_library = [gpu for gpu in unplaced if gpu.library == device.library]
    before = [other.library for other in devices[:place]].count(device.library)
    return (
        of_library[before] if len(of_library) == [d.library for d in devices].count(device.library) else None
    )


def _one(
    index: int, device: EngineDevice, tool: GPU | None, total_bytes: int, free_bytes: int, root: Path
) -> GPU:
    gpu = GPU(
        index,
        device.description or (tool.name if tool else device.name),
        device.library,
        device.total_bytes,
        min(device.free_bytes, device.total_bytes),
        is_unified=device.kind == "igpu"
        or device.library == "metal"
        or (tool is not None and tool.is_unified),
        device=device.name,
        pci=device.pci,
        compute=tool.compute if tool and device.library == "cuda" else None,
        is_measured=False,
    )
    if gpu.is_unified:
        free = min(free_bytes, gpu.total_bytes)
        # Metal lets a process wire less than is free; the engine knows how much.
        return replace(
            gpu, free_bytes=min(free, gpu.free_bytes) if gpu.library == "metal" else free, is_measured=True
        )
    if tool is not None and gpu.total_bytes * _SAME_SIZE_SHARE[1] >= tool.total_bytes * _SAME_SIZE_SHARE[0]:
        return replace(gpu, free_bytes=min(tool.free_bytes, gpu.total_bytes), is_measured=True)
    if tool is None and (left := _kernel_free(device.pci, root)) is not None:
        return replace(gpu, free_bytes=min(left, gpu.total_bytes), is_measured=True)
    return gpu


def _kernel_free(pci: str, root: Path) -> int | None:
    """Free memory of a card of AMD, which its driver for the kernel reports."""
    folder = root / "sys/bus/pci/devices" / pci if pci else None
    if folder is None:
        return None
    total = parse_int(read_text(folder / "mem_info_vram_total"))
    used = parse_int(read_text(folder / "mem_info_vram_used"))
    return max(total - used, 0) if total and used is not None else None
