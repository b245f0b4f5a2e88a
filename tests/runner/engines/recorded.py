"""Device lists of engines, and what the drivers' tools say on the same machines."""

from __future__ import annotations

import json
from dataclasses import dataclass

from corral.gpus import EngineDevice

GIB = 1 << 30
MIB = 1 << 20
CPU = EngineDevice("CPU", "AMD Ryzen 9 7950X 16-Core Processor", "cpu", 64 * GIB, 60 * GIB)
ACCELERATE = EngineDevice("BLAS", "Accelerate", "accel", 0, 0)


def gpu(
    name: str, description: str, total_mib: int, free_mib: int, pci: str = "", kind: str = "gpu"
) -> EngineDevice:
    return EngineDevice(name, description, kind, total_mib * MIB, free_mib * MIB, pci)


def rocm(cards: dict[str, tuple[str, int, int, str]]) -> str:
    """What rocm-smi answers: by the card's key, its series, total and used bytes, and PCI address."""
    return json.dumps(
        {
            key: {
                "Card Series": series,
                "VRAM Total Memory (B)": str(total),
                "VRAM Total Used Memory (B)": str(used),
                "PCI Bus": bus,
            }
            for key, (series, total, used, bus) in cards.items()
        }
    )


@dataclass(frozen=True)
class Recorded:
    """One machine. `nvidia` and `amd` are what the tools print; `files` lie below `/`.

    `expected`: the engine's name, library, MiB in total and free, unified, and whether that is free now.
    """

    devices: tuple[EngineDevice, ...]
    nvidia: str = ""
    amd: str = ""
    files: tuple[tuple[str, str], ...] = ()
    expected: tuple[tuple[str, str, int, int, bool, bool], ...] = ()
    with_integrated: bool | None = None


_ARC = gpu("Vulkan0", "Intel(R) Arc(tm) A770 Graphics (DG2)", 16288, 15600, "0000:03:00.0")
_IRIS = gpu("Vulkan0", "Intel(R) Iris(R) Xe Graphics (TGL GT2)", 31820, 20000, "0000:00:02.0", "igpu")
_STRIX = gpu("ROCm0", "AMD Radeon 8060S", 98304, 97000, "0000:c5:00.0", "igpu")
# The machine has 64 GiB, 48 of them free.
MACHINES = {
    "one card of NVIDIA": Recorded(
        (gpu("CUDA0", "NVIDIA GeForce RTX 4090", 24080, 23600, "0000:01:00.0"), CPU),
        nvidia="0, 00000000:01:00.0, 8.9, NVIDIA GeForce RTX 4090, 24564, 20010\n",
        expected=(("CUDA0", "cuda", 24080, 20010, False, True),),
    ),
    "two cards, the faster one listed first by the engine only": Recorded(
        (
            gpu("CUDA0", "NVIDIA GeForce RTX 4090", 24080, 23600, "0000:41:00.0"),
            gpu("CUDA1", "NVIDIA GeForce GTX 1060 6GB", 6063, 6000, "0000:01:00.0"),
            CPU,
        ),
        nvidia="0, 00000000:01:00.0, 6.1, NVIDIA GeForce GTX 1060 6GB, 6144, 5100\n"
        "1, 00000000:41:00.0, 8.9, NVIDIA GeForce RTX 4090, 24564, 22000\n",
        expected=(("CUDA0", "cuda", 24080, 22000, False, True), ("CUDA1", "cuda", 6063, 5100, False, True)),
    ),
    "the same from a binary, whose list has no addresses": Recorded(
        (
            gpu("CUDA0", "NVIDIA GeForce RTX 4090", 24080, 23600),
            gpu("CUDA1", "NVIDIA GeForce GTX 1060 6GB", 6063, 6000),
        ),
        nvidia="0, 00000000:01:00.0, 6.1, NVIDIA GeForce GTX 1060 6GB, 6144, 5100\n"
        "1, 00000000:41:00.0, 8.9, NVIDIA GeForce RTX 4090, 24564, 22000\n",
        expected=(("CUDA0", "cuda", 24080, 22000, False, True), ("CUDA1", "cuda", 6063, 5100, False, True)),
    ),
    "one of two cards is hidden from the engine": Recorded(
        (gpu("CUDA0", "NVIDIA H100 80GB HBM3", 81080, 80500, "0000:9b:00.0"), CPU),
        nvidia="0, 00000000:1b:00.0, 9.0, NVIDIA H100 80GB HBM3, 81559, 81004\n"
        "1, 00000000:9b:00.0, 9.0, NVIDIA H100 80GB HBM3, 81559, 40004\n",
        expected=(("CUDA0", "cuda", 81080, 40004, False, True),),
    ),
    "a slice of a card (MIG)": Recorded(
        (gpu("CUDA0", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", 4864, 4800, "0000:07:00.0"), CPU),
        nvidia="0, 00000000:07:00.0, 8.0, NVIDIA A100-SXM4-40GB, 40960, 35000\n",
        expected=(("CUDA0", "cuda", 4864, 4800, False, False),),
    ),
    "Jetson": Recorded(
        (gpu("CUDA0", "Orin", 62841, 40000, "0000:00:00.0", "igpu"), CPU),
        nvidia="0, Orin (nvgpu), [N/A], [N/A]\n",
        expected=(("CUDA0", "cuda", 62841, 49152, True, True),),
    ),
    "GB10": Recorded(
        (gpu("CUDA0", "NVIDIA GB10", 122502, 100000, "000f:01:00.0"), CPU),
        nvidia="0, 0000000F:01:00.0, 12.1, NVIDIA GB10, [N/A], [N/A]\n",
        expected=(("CUDA0", "cuda", 122502, 49152, True, True),),
    ),
    "AMD beside integrated graphics": Recorded(
        (
            gpu("ROCm0", "AMD Radeon RX 7900 XTX", 24560, 24500, "0000:03:00.0"),
            gpu("ROCm1", "AMD Radeon Graphics", 32000, 31000, "0000:0c:00.0", "igpu"),
            CPU,
        ),
        amd=rocm(
            {
                "card0": ("Radeon RX 7900 XTX", 24560 * MIB, 4560 * MIB, "0000:03:00.0"),
                "card1": ("Raphael", 512 * MIB, 0, "0000:0C:00.0"),
            }
        ),
        expected=(("ROCm0", "rocm", 24560, 20000, False, True),),
    ),
    "AMD through Vulkan, without rocm-smi": Recorded(
        (gpu("Vulkan0", "AMD Radeon RX 6800 (RADV NAVI21)", 16368, 16000, "0000:06:00.0"), CPU),
        files=(
            ("sys/bus/pci/devices/0000:06:00.0/mem_info_vram_total", str(16368 * MIB)),
            ("sys/bus/pci/devices/0000:06:00.0/mem_info_vram_used", str(6368 * MIB)),
        ),
        expected=(("Vulkan0", "vulkan", 16368, 10000, False, True),),
    ),
    "NVIDIA through Vulkan": Recorded(
        (gpu("Vulkan0", "NVIDIA GeForce RTX 3060", 12288, 12000), CPU),
        nvidia="0, 00000000:01:00.0, 8.6, NVIDIA GeForce RTX 3060, 12288, 7000\n",
        expected=(("Vulkan0", "vulkan", 12288, 7000, False, True),),
    ),
    "a card of Intel": Recorded((_ARC, CPU), expected=(("Vulkan0", "vulkan", 16288, 15600, False, False),)),
    "graphics of Intel inside a processor": Recorded((_IRIS, CPU)),
    "the same, wanted": Recorded(
        (_IRIS, CPU), expected=(("Vulkan0", "vulkan", 31820, 31820, True, True),), with_integrated=True
    ),
    "Strix Halo": Recorded((_STRIX, CPU), expected=(("ROCm0", "rocm", 98304, 49152, True, True),)),
    "Apple": Recorded(
        (gpu("MTL0", "Apple M2 Max", 49152, 40000), ACCELERATE, CPU),
        expected=(("MTL0", "metal", 49152, 40000, True, True),),
    ),
    "no card": Recorded((CPU,)),
}
