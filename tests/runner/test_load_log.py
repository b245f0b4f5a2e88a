"""What an engine says of its load, recorded from llama.cpp b11549 and b10434."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corral.runner.interface import DeviceMemory, LoadReport
from corral.runner.load_log import MARK, LoadLog, device_name, is_device

MIB = 1 << 20

# A probe without memory first, then the load: three of six layers on a device.
PART = """\
0.00.002.651 I cmn  common_param: device_info:
0.00.002.652 I cmn  common_param:   - Vulkan0 : llvmpipe (LLVM 15.0.6, 256 bits) (2048 MiB, 2048 MiB free)
0.00.030.001 I llama_model_loader: loaded meta data with 25 key-value pairs and 47 tensors from tiny.gguf
0.00.032.838 I load_tensors: offloaded 3/6 layers to GPU
0.00.036.265 I load_tensors:          CPU model buffer size =     0.00 MiB
0.00.036.310 I load_tensors:      Vulkan0 model buffer size =     0.00 MiB
0.00.037.509 I sched_reserve:    Vulkan0 compute buffer size =     9.00 MiB
0.00.050.001 I llama_model_loader: loaded meta data with 25 key-value pairs and 47 tensors from tiny.gguf
0.00.050.100 I llama_model_loader: - kv   0:  general.name str = load_tensors: CUDA7 model buffer size = 99.00 MiB
0.00.067.231 I load_tensors: offloaded 3/6 layers to GPU
0.00.069.778 I load_tensors:   CPU_Mapped model buffer size =     1.50 MiB
0.00.069.780 I load_tensors:      Vulkan0 model buffer size =     1.25 MiB
0.00.070.003 I llama_context: Vulkan_Host  output buffer size =     0.25 MiB
0.00.070.047 I llama_kv_cache:        CPU KV buffer size =     1.00 MiB
0.00.070.048 I llama_kv_cache:    Vulkan0 KV buffer size =     0.75 MiB
0.00.091.477 I sched_reserve:    Vulkan0 compute buffer size =     9.00 MiB
0.00.091.478 I sched_reserve: Vulkan_Host compute buffer size =     1.00 MiB
0.00.092.477 I sched_reserve:    Vulkan0 compute buffer size =     4.00 MiB
0.00.396.629 I srv          init: model loaded
0.00.396.700 I sched_reserve:    Vulkan0 compute buffer size =   777.00 MiB
"""
# Two cards, a cache with a sliding window in two parts, all layers on them, each named.
WHOLE = """\
llama_model_loader: loaded meta data with 40 key-value pairs and 883 tensors from model.gguf (version GGUF V3)
load_tensors: layer   0 assigned to device CUDA0, is_swa = 1
load_tensors: layer   1 assigned to device CUDA0, is_swa = 0
load_tensors: layer   2 assigned to device CUDA1, is_swa = 1
load_tensors: offloaded 3/3 layers to GPU
load_tensors:   CPU_Mapped model buffer size =   200.00 MiB
load_tensors:        CUDA0 model buffer size =   600.00 MiB
load_tensors:        CUDA1 model buffer size =   400.00 MiB
llama_kv_cache:      CUDA0 KV buffer size =    10.00 MiB
llama_kv_cache:      CUDA0 KV buffer size =    30.00 MiB
llama_kv_cache:      CUDA1 KV buffer size =    20.00 MiB
llama_context:  CUDA_Host  output buffer size =     1.00 MiB
sched_reserve:      CUDA0 compute buffer size =   100.00 MiB
sched_reserve:      CUDA1 compute buffer size =   120.00 MiB
sched_reserve:  CUDA_Host compute buffer size =     9.00 MiB
"""


def read(text: str, **sizes: int) -> LoadReport | None:
    log = LoadLog()
    log.feed(text.encode())
    return log.report(**sizes)


def test_a_part_on_a_device() -> None:
    """The last load counts, the last compute buffer, and nothing after the end; texts from the file do not."""
    assert read(PART, file_bytes=10 * MIB) == LoadReport(
        (DeviceMemory("Vulkan0", 6 * MIB, 3),), int(3.75 * MIB), offloaded=3, layer_count=6
    )
    # Half a MiB of the file is both mapped and on the device.
    report = read(PART, file_bytes=int(2.25 * MIB))
    assert report is not None
    assert report.host_bytes == int(3.25 * MIB)


def test_all_on_two_devices() -> None:
    report = read(WHOLE, file_bytes=1100 * MIB)
    assert report == LoadReport(
        (DeviceMemory("CUDA0", 740 * MIB, 2), DeviceMemory("CUDA1", 540 * MIB, 1)),
        110 * MIB,
        offloaded=3,
        layer_count=3,
        is_whole=True,
    )
    assert report.device_bytes == 1280 * MIB


def test_without_the_devices_of_layers() -> None:
    """A binary does not name them: with several devices nobody knows how many each has."""
    text = "".join(line for line in WHOLE.splitlines(keepends=True) if "assigned" not in line)
    report = read(text)
    assert report is not None
    assert [part.layers for part in report.devices] == [None, None]
    assert report.offloaded == 3


def test_experts_that_did_not_fit() -> None:
    """All layers are on devices, and yet parts of some are not."""
    text = "common_params_fit_impl:   - CUDA0 (card): 3 layers ( 2 overflowing),  900 MiB used\n" + WHOLE
    report = read(text)
    assert report is not None
    assert not report.is_whole


def test_no_device() -> None:
    """The engine says that layers were offloaded even where there is nothing to offload them to."""
    text = (
        "llama_model_loader: loaded meta data with 1 key-value pairs\n"
        "load_tensors: offloaded 6/6 layers to GPU\n"
        "load_tensors:   CPU_Mapped model buffer size =     2.00 MiB\n"
    )
    assert read(text) == LoadReport((), 2 * MIB, offloaded=0, layer_count=6)
    assert read("") is None
    assert (
        read("llama_model_loader: loaded meta data\nsched_reserve: CUDA0 compute buffer size = 1.00 MiB\n")
        is None
    )


def test_a_draft_and_a_projector_count() -> None:
    draft = (
        "llama_model_loader: loaded meta data with 9 key-value pairs\n"
        "load_tensors: offloaded 2/2 layers to GPU\n"
        "load_tensors:        CUDA1 model buffer size =   40.00 MiB\n"
        "sched_reserve:      CUDA1 compute buffer size =   10.00 MiB\n"
        "clip_ctx: CLIP using CUDA0 backend\n"
    )
    report = read(WHOLE + draft, projector_bytes=60 * MIB)
    assert report is not None
    assert [part.size_bytes // MIB for part in report.devices] == [800, 590]
    assert (report.offloaded, report.layer_count) == (3, 3)


def test_any_cut() -> None:
    """The pipe cuts where it likes."""
    whole = read(PART)
    for size in (1, 7, 64):
        log = LoadLog()
        data = PART.encode()
        for start in range(0, len(data), size):
            if not log.is_complete:
                log.feed(data[start : start + size])
        assert log.is_complete
        assert log.report() == whole


def test_the_end_of_our_own_child() -> None:
    log = LoadLog()
    log.feed(f"something\n{MARK}\n".encode())
    assert log.is_complete


def test_names_of_buffers() -> None:
    assert [
        name
        for name in ("CPU", "CPU_Mapped", "CPU_REPACK", "AMX", "BLAS", "CUDA_Host", "Vulkan_Host")
        if is_device(name)
    ] == []
    assert [device_name(name) for name in ("CUDA0", "MTL0_Mapped", "MTL0_Private", "CUDA1_Split")] == [
        "CUDA0",
        "MTL0",
        "MTL0",
        "CUDA1",
    ]


@given(
    st.lists(st.sampled_from([*PART.splitlines(), *WHOLE.splitlines()]) | st.text()), st.integers(0, 1 << 40)
)
def test_any_log_is_taken(lines: list[str], file_bytes: int) -> None:
    """No order of lines is an error, and no size is negative."""
    report = read("\n".join(lines) + "\n", file_bytes=file_bytes)
    if report is not None:
        assert report.host_bytes >= 0
        assert all(part.size_bytes > 0 for part in report.devices)
        assert report.device_bytes == sum(part.size_bytes for part in report.devices)
