"""The program that runs inside the engine child: `python -m corral.runner.child`.

It reads one JSON line from stdin (the start order), bounds its own memory, and then either becomes an
external `llama-server` or hosts the built-in engine. From then on stdin only tells that the parent lives: the
engine ends the process when it reaches EOF. It imports next to nothing of Corral, so that it starts fast.

A line with `spare` may come before the order: the child imports the engine and then waits for the order. What an
order decides (memory, media marker, parameters) is set after it has been read, what the engine reads when it is
imported before.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any, NoReturn

from corral.childlimits import limit_self
from corral.runner.compat_llama_server import QUIET, ask_for_states, flush_log, quieten_log
from corral.runner.sourcepages import give_back

EXIT_LOAD_FAILED = 3
_OOM_SCORE = 500
# Nothing is lost with a spare child.
_SPARE_OOM_SCORE = 1000


def _read_order() -> dict[str, Any]:
    """Read a line byte by byte, because whatever follows the order belongs to the engine."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit("no start order on stdin")
        line += byte
    order: dict[str, Any] = json.loads(line)
    return order


def _exec_server(order: dict[str, Any]) -> NoReturn:
    """Become the external binary; the key travels in the environment, never in the argument list."""
    os.environ["LLAMA_API_KEY"] = order["key"]
    os.execv(order["server_path"], [order["server_path"], *order["args"]])


def _import_engine(package_folder: str) -> Any:
    if package_folder and package_folder not in sys.path:
        sys.path.insert(0, package_folder)
    import xllamacpp

    return xllamacpp


def _has_device(x: Any) -> bool:
    """Whether the engine has a device that layers could be moved from or to, beside the processor."""
    try:
        kinds = x.ggml_backend_dev_type
        own = {kinds.GGML_BACKEND_DEVICE_TYPE_CPU, kinds.GGML_BACKEND_DEVICE_TYPE_ACCEL}
        return any(device["type"] not in own for device in x.get_device_info())
    except (AttributeError, KeyError, TypeError):
        return True


def _common_params(x: Any, order: dict[str, Any]) -> Any:
    p = x.CommonParams()
    p.model.path = order["model"]
    p.hostnames = [order["socket"]]
    p.api_keys = [order["key"]]
    p.n_parallel = order["num_parallel"]
    p.n_ctx = order["num_ctx"] * order["num_parallel"]
    p.kv_unified = False
    p.n_batch = order["num_batch"]
    p.n_ubatch = order["num_ubatch"]
    p.cpuparams.n_threads = order["num_thread"]
    p.cpuparams_batch.n_threads = order["num_thread"]
    # Streams hold a thread each; the rest answers tokenize and health while every slot streams.
    p.n_threads_http = order["num_parallel"] + 8
    p.verbosity = order["log_level"]
    p.ui = False
    p.endpoint_metrics = True
    # We render prompts ourselves; a broken template inside the file must not keep the model from loading.
    p.chat_template = "chatml"
    p.cache_ram_mib = order["cache_ram_mib"]
    p.slot_save_path = order["prompts"]
    p.ctx_shift = order["context_shift"]
    p.n_gpu_layers = order["num_gpu"]
    _choose_devices(x, p, order)
    if order["direct_io"]:
        p.load_mode = x.llama_load_mode.LLAMA_LOAD_MODE_DIRECT_IO
    elif order["use_mmap"] is not None:
        mode = x.llama_load_mode
        p.load_mode = mode.LLAMA_LOAD_MODE_MMAP if order["use_mmap"] else mode.LLAMA_LOAD_MODE_NONE
    if order["kv_cache_type"]:
        kv_type = getattr(x.ggml_type, f"GGML_TYPE_{order['kv_cache_type'].upper()}")
        p.cache_type_k = p.cache_type_v = kv_type
    if order["flash_attention"] is not None:
        kinds = x.llama_flash_attn_type
        p.flash_attn_type = (
            kinds.LLAMA_FLASH_ATTN_TYPE_ENABLED
            if order["flash_attention"]
            else kinds.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
    # Finding out what fits reads all of the header a second time; without a GPU there is nothing to find out.
    p.fit_params = order["fits_memory"] and order["main_gpu"] != -1 and _has_device(x)
    p.warmup = order["warms_up"]
    if order["fit_target_mib"]:
        p.fit_params_target = [order["fit_target_mib"] << 20] * len(p.fit_params_target)
    if order["adapters"]:
        p.lora_adapters = [x.CommonAdapterLoraInfo(path, 1.0) for path in order["adapters"]]
    if order["projector"]:
        p.mmproj.path = order["projector"]
        p.mmproj_use_gpu = not order["projector_on_cpu"]
    if order["speculation"]:
        _speculate(x.common_speculative_type, p.speculative, order)
    if order["embedding"]:
        p.embedding = True
        if order["pooling"]:
            p.pooling_type = getattr(x.llama_pooling_type, f"LLAMA_POOLING_TYPE_{order['pooling'].upper()}")
    return p


def _speculate(kinds: Any, speculative: Any, order: dict[str, Any]) -> None:
    """Set how tokens are guessed."""
    kind, tokens = order["speculation"]["kind"], order["speculation"]["tokens"]
    name = kind.upper().replace("-", "_")
    speculative.types = [getattr(kinds, f"COMMON_SPECULATIVE_TYPE_{name}")]
    if kind == "ngram-simple":
        speculative.ngram_simple.size_n = order["speculation"]["match"]
        speculative.ngram_simple.size_m = tokens
        return
    if order["draft"]:
        speculative.draft.mparams.path = order["draft"]
    speculative.draft.n_max = tokens
    speculative.draft.cpuparams.n_threads = order["num_thread"]
    speculative.draft.cpuparams_batch.n_threads = order["num_thread"]


def _choose_devices(x: Any, p: Any, order: dict[str, Any]) -> None:
    if order["main_gpu"] is not None:
        p.main_gpu = order["main_gpu"]  # -1: no device at all
    if order["is_one_gpu"]:
        p.split_mode = x.llama_split_mode.LLAMA_SPLIT_MODE_NONE
    if order["tensor_split"]:
        size = len(p.tensor_split)
        p.tensor_split = [*order["tensor_split"], *[0.0] * size][:size]


def _begin() -> dict[str, Any]:
    """Set what does not depend on the order, and read it; before that, import the engine if this is a spare."""
    limit_self(oom_score=_OOM_SCORE)
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    # Threads that wait for each other spin. As long as libgomp lets them by default (about 3 ms a barrier), one
    # other busy process makes a model a hundred times slower; see docs/benchmarks.md.
    os.environ.setdefault("GOMP_SPINCOUNT", "500")
    ask_for_states(os.environ)
    order = _read_order()
    if "spare" in order:
        limit_self(oom_score=_SPARE_OOM_SCORE)
        _import_engine(order["spare"])
        order = _read_order()
    return order


def main() -> None:
    order = _begin()
    limit_self(oom_score=_OOM_SCORE, memory_bytes=order["memory_limit_bytes"] or 0)
    os.environ["LLAMA_MEDIA_MARKER"] = order["media_marker"]
    if order.get("server_path"):
        _exec_server(order)
    xllamacpp = _import_engine(order.get("package_folder", ""))
    try:
        server = xllamacpp.Server(_common_params(xllamacpp, order))
    except Exception as exc:
        flush_log(xllamacpp)  # the reason is in there
        sys.stderr.write(f"load failed: {exc}\n")
        sys.stderr.flush()
        os._exit(EXIT_LOAD_FAILED)
    if order["log_level"] > QUIET:
        quieten_log(xllamacpp)
        os.write(2, b"corral: loaded\n")  # see load_log.py
    if order["gives_back"]:
        give_back(order["model"])
    threading.Event().wait()
    del server


if __name__ == "__main__":
    main()
