"""The program that runs inside the engine child: `python -m corral.runner.child`.

It reads one JSON line from stdin (the start order), bounds its own memory, and then either becomes an
external `llama-server` or hosts the built-in engine. From then on stdin only tells that the parent lives: the
engine ends the process when it reaches EOF. It imports next to nothing of Corral, so that it starts fast.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any, NoReturn

from corral.childlimits import limit_self
from corral.runner.compat_llama_server import ask_for_states, flush_log

EXIT_LOAD_FAILED = 3


def _read_order() -> dict[str, Any]:
    """Read the first line byte by byte, because whatever follows belongs to the engine."""
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


def _common_params(order: dict[str, Any]) -> Any:
    import xllamacpp as x

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
    p.verbosity = 1
    p.ui = False
    p.endpoint_metrics = True
    # We render prompts ourselves; a broken template inside the file must not keep the model from loading.
    p.chat_template = "chatml"
    p.cache_ram_mib = order["cache_ram_mib"]
    p.slot_save_path = order["prompts"]
    p.ctx_shift = order["context_shift"]
    p.n_gpu_layers = order["num_gpu"]
    if order["main_gpu"] is not None:
        p.main_gpu = order["main_gpu"]
    if order["use_mmap"] is not None:
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
    p.fit_params = order["fits_memory"]
    if order["fit_target_mib"]:
        p.fit_params_target = [order["fit_target_mib"] << 20] * len(p.fit_params_target)
    if order["adapters"]:
        p.lora_adapters = [x.CommonAdapterLoraInfo(path, 1.0) for path in order["adapters"]]
    if order["projector"]:
        p.mmproj.path = order["projector"]
    if order["draft"]:
        p.speculative.types = [x.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
        p.speculative.draft.mparams.path = order["draft"]
        p.speculative.draft.n_max = order["draft_tokens"]
        p.speculative.draft.cpuparams.n_threads = order["num_thread"]
        p.speculative.draft.cpuparams_batch.n_threads = order["num_thread"]
    if order["embedding"]:
        p.embedding = True
        if order["pooling"]:
            p.pooling_type = getattr(x.llama_pooling_type, f"LLAMA_POOLING_TYPE_{order['pooling'].upper()}")
    return p


def main() -> None:
    order = _read_order()
    limit_self(oom_score=500, memory_bytes=order["memory_limit_bytes"] or 0)
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    # Threads that wait for each other spin. As long as libgomp lets them by default (about 3 ms a barrier), one
    # other busy process makes a model a hundred times slower; see docs/benchmarks.md.
    os.environ.setdefault("GOMP_SPINCOUNT", "500")
    ask_for_states(os.environ)
    os.environ["LLAMA_MEDIA_MARKER"] = order["media_marker"]
    if order.get("server_path"):
        _exec_server(order)
    if order.get("package_folder"):
        sys.path.insert(0, order["package_folder"])
    import xllamacpp

    try:
        server = xllamacpp.Server(_common_params(order))
    except Exception as exc:
        flush_log(xllamacpp)  # the reason is in there
        sys.stderr.write(f"load failed: {exc}\n")
        sys.stderr.flush()
        os._exit(EXIT_LOAD_FAILED)
    threading.Event().wait()
    del server


if __name__ == "__main__":
    main()
