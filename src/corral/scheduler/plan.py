"""The decision about one load, and what a further attempt gives up."""

from __future__ import annotations

from dataclasses import dataclass

from corral.gpus import GPU
from corral.runner.interface import RunnerSpec
from corral.scheduler.spec import Estimate
from corral.scheduler.split import NO_SPLIT, Split


@dataclass(frozen=True, slots=True)
class Retry:
    """What a further attempt gives up after running out of memory; by default nothing.

    `num_ctx` caps the automatic context, `layers` how many layers go to devices; `avoided` devices are not used.
    `is_any`: this is a further attempt. It takes one slot, and no other model stays where it goes.
    """

    num_ctx: int | None = None
    layers: int | None = None
    projector_on_cpu: bool = False
    avoided: frozenset[str] = frozenset()
    on_cpu: bool = False
    is_any: bool = True


FIRST = Retry(is_any=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision about one load. `is_offloaded`: it uses `gpus`; `split` is what each of them is expected to get.

    `room`: what each device that was considered has for a model; `room_bytes`: those of `gpus` together.
    `whole_bytes`: what a single device has to have for all wanted layers; 0: they are to be spread.
    """

    spec: RunnerSpec
    estimate: Estimate
    is_offloaded: bool = False
    split: Split = NO_SPLIT
    gpus: tuple[GPU, ...] = ()
    room: tuple[tuple[str, int], ...] = ()
    room_bytes: int = 0
    whole_bytes: int = 0

    @property
    def vram_bytes(self) -> int:
        """The predicted share in the memory of devices."""
        return self.split.device_bytes

    @property
    def is_on_host(self) -> bool:
        """Whether a part of the model is expected in the machine's memory."""
        return not self.is_offloaded or self.split.offloaded < self.split.layer_count
