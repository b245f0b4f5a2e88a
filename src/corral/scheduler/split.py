"""Which devices a model goes to, and which of its layers to which: pure arithmetic, always the same answer.

The engine puts the last layers on devices, those before them stay on the processor. It gives each device a run of
layers as long as its share of the free memory; where that does not fit, it fills one device after the other. As in
Ollama (server/sched), a model goes to one card if there is one with room for all of it, else to all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from corral.gpus import GPU
from corral.scheduler.estimate import LayerNeeds

_MIB = 1 << 20
# What a driver takes for a process beside the model's buffers (ollama: ml/device.go, MinimumMemory).
_CONTEXT_BYTES = 457 * _MIB
_METAL_CONTEXT_BYTES = 512 * _MIB
# The engine leaves this free on each device when it chooses layers (llama.cpp: --fit-target).
FIT_TARGET_MIB = 1024
# Ollama keeps a projector off a device that does not have this much beside it.
_PROJECTOR_HEADROOM_BYTES = 1024 * _MIB


@dataclass(frozen=True, slots=True)
class Share:
    """What one device gets: layers [first, first + count) of the model, `size_bytes` with all buffers."""

    device: str
    first: int
    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Split:
    """Where the layers of a model are expected to go. `layer_count` includes the output; `wanted`: how many of them
    are to go to devices. `host_bytes` are in the machine's memory.
    """

    shares: tuple[Share, ...] = ()
    layer_count: int = 0
    wanted: int = 0
    host_bytes: int = 0
    projector_on_cpu: bool = False

    @property
    def offloaded(self) -> int:
        return sum(share.count for share in self.shares)

    @property
    def is_whole(self) -> bool:
        """Whether all layers that are wanted on devices fit there."""
        return self.wanted > 0 and self.offloaded == self.wanted

    @property
    def device_bytes(self) -> int:
        return sum(share.size_bytes for share in self.shares)

    def bytes_on(self, device: str) -> int:
        return sum(share.size_bytes for share in self.shares if share.device == device)


NO_SPLIT = Split()


def available_bytes(gpu: GPU, overhead_bytes: int, fit_target_mib: int) -> int:
    """What a model may take of a device; 0 at least. `fit_target_mib` 0: the engine's default."""
    context = _METAL_CONTEXT_BYTES if gpu.library == "metal" else _CONTEXT_BYTES
    margin = max(overhead_bytes, (fit_target_mib or FIT_TARGET_MIB) * _MIB)
    return max(gpu.free_bytes - context - margin, 0)


def best_group(gpus: Sequence[GPU], available: dict[str, int]) -> tuple[GPU, ...]:
    """The devices of one backend: a binary may list the same card twice, once for each of its backends.

    Cards before integrated graphics, then the backend with the most room, then the first listed one.
    """
    libraries = dict.fromkeys(gpu.library for gpu in gpus)
    groups = [tuple(gpu for gpu in gpus if gpu.library == library) for library in libraries]
    return max(
        groups,
        key=lambda group: (
            any(not gpu.is_unified for gpu in group),
            sum(available[gpu.key] for gpu in group),
        ),
        default=(),
    )


def cards_by_room(gpus: Sequence[GPU], available: dict[str, int]) -> list[GPU]:
    """Single devices in the order in which a model is tried on them."""
    return sorted(gpus, key=lambda gpu: (gpu.is_unified, -available[gpu.key], gpu.index))


def choose(
    needs: LayerNeeds, gpus: Sequence[GPU], available: dict[str, int], *, wanted: int, is_spread: bool
) -> tuple[tuple[GPU, ...], Split]:
    """The devices to use and what each gets. `wanted`: how many layers, counted from the output."""
    wanted = min(wanted, len(needs.layers))
    if not is_spread:
        for gpu in cards_by_room(gpus, available):
            split = share_out(needs, (gpu,), available, wanted)
            if split.is_whole and not split.projector_on_cpu:
                return (gpu,), split
    group = best_group(gpus, available)
    return group, share_out(needs, group, available, wanted)


def share_out(needs: LayerNeeds, gpus: Sequence[GPU], available: dict[str, int], wanted: int) -> Split:
    """Give the last `wanted` layers to devices, as many as fit, in the order of the devices."""
    projector_on_cpu = _keeps_projector(needs, gpus, available, wanted)
    extra = needs.anywhere_bytes + (0 if projector_on_cpu else needs.projector_bytes)
    # What a device needs beside layers; the engine puts what goes with the whole model on the first one.
    beside = [needs.compute_bytes + (extra if place == 0 else 0) for place in range(len(gpus))]
    # Less than nothing where not even that fits.
    room = [available[gpu.key] - size for gpu, size in zip(gpus, beside, strict=True)]
    counts = _by_share(needs.layers[len(needs.layers) - wanted :], room)
    if counts is None:
        counts = _filled(needs.layers[len(needs.layers) - wanted :], room)
    first = len(needs.layers) - sum(counts)
    shares = []
    place = first
    for gpu, size, count in zip(gpus, beside, counts, strict=True):
        if count:
            shares.append(Share(gpu.key, place, count, size + sum(needs.layers[place : place + count])))
        place += count
    host = needs.host_bytes + sum(needs.layers[:first])
    if first or not shares:
        host += needs.compute_bytes
    if not shares:
        host += needs.anywhere_bytes + needs.projector_bytes
    elif projector_on_cpu:
        host += needs.projector_bytes
    return Split(tuple(shares), len(needs.layers), wanted, host, projector_on_cpu)


def _keeps_projector(needs: LayerNeeds, gpus: Sequence[GPU], available: dict[str, int], wanted: int) -> bool:
    """Whether images are encoded on the processor: where layers stay there, or a device is too small for both."""
    if not needs.projector_bytes:
        return False
    least = needs.projector_bytes + _PROJECTOR_HEADROOM_BYTES
    return wanted < len(needs.layers) or any(available[gpu.key] < least for gpu in gpus)


def _by_share(layers: Sequence[int], room: Sequence[int]) -> list[int] | None:
    """Runs of layers by each device's share of the room; None if one of them does not fit."""
    total = sum(max(size, 0) for size in room)
    if not total:
        return None
    counts, done, place = [], 0, 0
    for size in room:
        done += max(size, 0)
        end = len(layers) * done // total
        if sum(layers[place:end]) > size:
            return None
        counts.append(end - place)
        place = end
    return counts


def _filled(layers: Sequence[int], room: Sequence[int]) -> list[int]:
    """As many of the last layers as fit, each device filled from the last one on."""
    counts = [0] * len(room)
    place = len(layers)
    for device in range(len(room) - 1, -1, -1):
        left = room[device]
        while place > 0 and layers[place - 1] <= left:
            left -= layers[place - 1]
            place -= 1
            counts[device] += 1
    return counts
