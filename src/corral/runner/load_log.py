"""Where an engine has put a model, read from what it writes while it loads: layers and bytes on each device.

llama.cpp reports the size of each buffer that it allocates, and how many layers go to devices; Ollama reads the same
lines (ollama: llm/llama_server.go). The engine may load a model several times: first without memory, to see what
fits, and a draft model after the main one. Each load begins with a line of the loader; one without any bytes is not a
real one.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from corral.runner.interface import DeviceMemory, LoadReport, RunnerSpec
from corral.runner.reasons import PREFIX

_MIB = 1 << 20
_MAX_LINE_BYTES = 4096
# Our child writes it once all lines of its load have been written; the others are the server's own.
MARK = "corral: loaded"
# From the beginning of a line: values from the model's file are printed too, after the name of a function.
_END = re.compile(rf"{MARK}$|\w+: (?:model loaded|all slots are idle)$")
_NEW_LOAD = re.compile(r"llama_model_loader: loaded meta data")
_BUFFER = re.compile(
    r"(\w+): +(\S+) +(model|KV|RS|compute|output) buffer size *= *(\d{1,9}\.\d{1,9}|\d{1,9}) MiB"
)
_OFFLOADED = re.compile(r"load_tensors: offloaded (\d{1,6})/(\d{1,6}) layers to GPU")
_ASSIGNED = re.compile(r"load_tensors: layer +(\d{1,6}) assigned to device (\S+?),")
_OVERFLOWING = re.compile(r"common_params_fit_impl: +- .*: +\d+ layers \( *(\d{1,6}) overflowing\)")
_PROJECTOR = re.compile(r"clip_ctx: CLIP using (\S+) backend")


@dataclass(slots=True)
class _Load:
    """The buffers of one load. Those of a kind add up; a compute buffer that is reserved again replaces the first."""

    sizes: Counter[tuple[str, str]] = field(default_factory=Counter)
    compute: dict[tuple[str, str], int] = field(default_factory=dict)
    layers: dict[int, str] = field(default_factory=dict)
    offloaded: tuple[int, int] = (0, 0)
    overflowing: int = 0

    @property
    def is_real(self) -> bool:
        return any(size for (_, kind), size in self.sizes.items() if kind == "model")

    def all_sizes(self) -> Counter[tuple[str, str]]:
        found = Counter(self.sizes)
        for (_, backend), size in self.compute.items():
            found[backend, "compute"] += size
        return found


class LoadLog:
    """Feed it with the engine's stderr until `is_complete`; `report` is what was learned by then."""

    def __init__(self) -> None:
        self._rest = b""
        self._loads = [_Load()]
        self._overflowing = 0
        self._projector_device = ""
        self.is_complete = False

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_MAX_LINE_BYTES:]
        for line in lines:
            text = PREFIX.sub("", line[:_MAX_LINE_BYTES].decode("utf-8", "replace").rstrip())
            if _END.match(text):
                self.is_complete = True
                return
            self._read(text)

    def _read(self, line: str) -> None:
        if _NEW_LOAD.match(line):
            self._loads.append(_Load(overflowing=self._overflowing))
        elif found := _BUFFER.match(line):
            self._take_buffer(found[1], found[2], found[3], int(float(found[4]) * _MIB))
        elif found := _ASSIGNED.match(line):
            self._loads[-1].layers[int(found[1])] = found[2]
        elif found := _OFFLOADED.match(line):
            self._loads[-1].offloaded = (int(found[1]), int(found[2]))
        elif found := _OVERFLOWING.match(line):
            self._overflowing += int(found[1])
        elif found := _PROJECTOR.match(line):
            self._projector_device = found[1]

    def _take_buffer(self, function: str, backend: str, kind: str, size: int) -> None:
        load = self._loads[-1]
        if kind == "compute":
            load.compute[function, backend] = size
        else:
            load.sizes[backend, kind] += size

    def report(self, file_bytes: int = 0, projector_bytes: int = 0) -> LoadReport | None:
        """What was loaded, None if the engine has said nothing about it.

        `file_bytes`: of all weights. A mapped file counts once: the engine reports the whole span of the file that
        has tensors for the processor, also those parts of it that are on a device. `projector_bytes` count where the
        engine has put the projector, whose size it does not report.
        """
        loads = [load for load in self._loads if load.is_real]
        if not loads:
            return None
        total: Counter[tuple[str, str]] = Counter()
        for load in loads:
            total.update(load.all_sizes())
        if self._projector_device:
            total[self._projector_device, "projector"] += projector_bytes
        devices: Counter[str] = Counter()
        host = 0
        for (backend, _), size in total.items():
            if is_device(backend):
                devices[device_name(backend)] += size
            else:
                host += size
        host -= _counted_twice(total, file_bytes)
        return _report(loads[0], devices, max(host, 0))


def _report(main: _Load, devices: Counter[str], host_bytes: int) -> LoadReport:
    with_weights = {
        device_name(backend) for (backend, kind), size in main.sizes.items() if kind == "model" and size
    }
    layers: Counter[str] = Counter(main.layers.values())
    offloaded, layer_count = main.offloaded
    on_devices = [name for name in devices if name in with_weights and is_device(name)]
    if not on_devices:
        offloaded = 0  # the line says so even where there is no device
    elif len(on_devices) == 1:
        layers[on_devices[0]] = offloaded
    known = bool(main.layers) or len(on_devices) < 2
    return LoadReport(
        tuple(
            DeviceMemory(name, size, (layers[name] if name in on_devices else 0) if known else None)
            for name, size in sorted(devices.items())
            if size
        ),
        host_bytes,
        offloaded,
        layer_count,
        is_whole=0 < layer_count <= offloaded and not main.overflowing,
    )


def _counted_twice(sizes: Counter[tuple[str, str]], file_bytes: int) -> int:
    mapped = sum(size for (name, kind), size in sizes.items() if kind == "model" and name == "CPU_Mapped")
    of_file = mapped + sum(
        size for (name, kind), size in sizes.items() if kind == "model" and is_device(name)
    )
    return min(mapped, max(of_file - file_bytes, 0)) if file_bytes else 0


def is_device(backend: str) -> bool:
    """Whether a buffer of this name is a GPU's memory: not the processor's, nor memory of the host for transfers."""
    return not backend.startswith(("CPU", "BLAS", "AMX")) and not backend.endswith("_Host")


def device_name(backend: str) -> str:
    """The device of a buffer: `MTL0_Mapped` and `MTL0_Private` are memory of `MTL0`."""
    for suffix in ("_Mapped", "_REPACK", "_Private", "_Split"):
        backend = backend.removesuffix(suffix)
    return backend


def file_sizes(spec: RunnerSpec) -> tuple[int, int]:
    """Bytes of all weights, and of the projectors; see `LoadLog.report`."""
    weights = sum(_size(path) for path in (spec.weights_path, spec.draft_path) if path)
    return weights, sum(map(_size, spec.projector_paths))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
