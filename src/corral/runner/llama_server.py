"""The one place that knows llama.cpp's server: its start order, request bodies and events.

Completions go to `/completion` only, with a rendered prompt and explicit sampling values, always streamed and with
progress events, because that makes cancelling fast. JSON schemas never reach the engine, only grammars do.
"""

from __future__ import annotations

import base64
import secrets
from array import array
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import orjson

from corral.devices import read_cpu
from corral.errors import ContextOverflowError, CorralError, EngineError, SchemaError
from corral.runner.compat_llama_server import BUFFERS, LAYERS, QUIET
from corral.runner.interface import CompletionRequest, EngineChoice, Final, Piece, RunnerSpec
from corral.runner.logprobs import LogprobReader

# Stands for an image in a prompt. No text of a user can hold it, since it differs from one start to the next.
MEDIA_MARKER = f"<__media_{secrets.token_hex(8)}__>"


def start_order(spec: RunnerSpec, engine: EngineChoice, *, socket_path: str, key: str) -> dict[str, Any]:
    """The line that `runner/child.py` reads."""
    # An embedding input is never split: the whole of it has to fit one physical batch.
    num_batch = max(spec.num_batch, spec.num_ctx) if spec.is_embedding else spec.num_batch
    # The engine aborts where one step does not hold a token of every slot, drafts included, or holds one alone.
    guessed = spec.speculation.tokens if spec.speculation else 0
    num_batch = max(num_batch, spec.num_parallel * (1 + guessed), 2)
    order: dict[str, Any] = {
        "model": str(spec.weights_path),
        "socket": socket_path,
        "key": key,
        "num_ctx": spec.num_ctx,
        "num_parallel": spec.num_parallel,
        "num_batch": num_batch,
        "num_ubatch": num_batch if spec.is_embedding else min(num_batch, spec.num_ubatch or 512),
        "num_thread": spec.num_thread or read_cpu().physical_count,
        "num_gpu": spec.num_gpu,
        "main_gpu": _main_gpu(spec),
        "is_one_gpu": _main_gpu(spec) is not None and (bool(spec.gpus.listed) or spec.gpus.is_none),
        "devices": list(spec.gpus.chosen or ()) if spec.gpus.is_some else [],
        "tensor_split": _tensor_split(spec, is_package=engine.server_path is None),
        "projector_on_cpu": spec.projector_on_cpu,
        "log_level": _log_level(spec, engine),
        "use_mmap": spec.use_mmap,
        "direct_io": spec.direct_io,
        "context_shift": spec.context_shift,
        "kv_cache_type": spec.kv_cache_type,
        "flash_attention": spec.flash_attention,
        "fits_memory": spec.fits_memory,
        "fit_target_mib": spec.fit_target_mib,
        "warms_up": spec.warms_up,
        "gives_back": spec.gives_back,
        "cache_ram_mib": spec.cache_ram_mib,
        "adapters": [str(path) for path in spec.adapter_paths],
        "projector": str(spec.projector_paths[0]) if spec.projector_paths else "",
        # A draft model that proposes nothing would only cost its memory.
        "draft": str(spec.draft_path) if spec.draft_path and spec.speculation else "",
        "speculation": asdict(spec.speculation) if spec.speculation else None,
        "embedding": spec.is_embedding,
        "pooling": spec.pooling or "",
        "memory_limit_bytes": spec.memory_limit_bytes,
        "media_marker": MEDIA_MARKER,
    }
    if engine.package_folder is not None:
        order["package_folder"] = str(engine.package_folder)
    if engine.server_path is not None:
        order["server_path"] = str(engine.server_path)
    return order


def _main_gpu(spec: RunnerSpec) -> int | None:
    """The one device to use: its number, -1 for none; None if the engine chooses."""
    if spec.gpus.is_none:
        return -1
    return spec.gpus.only if spec.gpus.only is not None else spec.main_gpu


def _tensor_split(spec: RunnerSpec, *, is_package: bool) -> list[float]:
    """The shares of the devices; empty: by their free memory.

    A binary is told which devices to use. The package cannot be: there, those that must not be used get nothing.
    """
    if not (spec.gpus.is_some and is_package):
        return list(spec.tensor_split)
    chosen = spec.gpus.chosen or ()
    shares = dict(zip(chosen, spec.tensor_split or (1.0,) * len(chosen), strict=False))
    return [shares.get(name, 0.0) for name in spec.gpus.listed]


def _log_level(spec: RunnerSpec, engine: EngineChoice) -> int:
    """How much the engine says about its load. A binary cannot be made quiet afterwards: it would go on like that."""
    if spec.gpus.is_none or not spec.gpus.listed:
        return QUIET
    return LAYERS if engine.server_path is None and len(spec.gpus.listed) > 1 else BUFFERS


def with_arguments(order: dict[str, Any], prompts_folder: Path | None) -> dict[str, Any]:
    """The same with the folder for states of prompts, and for an external binary with its argument list."""
    whole = {**order, "prompts": f"{prompts_folder}/" if prompts_folder else ""}
    if "server_path" in order:
        whole["args"] = _server_args(whole)
    return whole


def _server_args(order: dict[str, Any]) -> list[str]:
    """Flags of a llama-server binary that mean the same as the order; its defaults differ."""
    args = ["-m", order["model"], "--host", order["socket"]]
    args += ["-np", str(order["num_parallel"]), "-c", str(order["num_ctx"] * order["num_parallel"])]
    args += ["-b", str(order["num_batch"]), "-ub", str(order["num_ubatch"])]
    args += ["-t", str(order["num_thread"]), "-tb", str(order["num_thread"])]
    args += ["--threads-http", str(order["num_parallel"] + 8), "--no-kv-unified"]
    args += ["--no-ui", "--log-verbosity", str(order["log_level"]), "--metrics", "--chat-template", "chatml"]
    args += ["--cache-ram", str(order["cache_ram_mib"])]
    args += ["--context-shift" if order["context_shift"] else "--no-context-shift"]
    if order["prompts"]:
        args += ["--slot-save-path", order["prompts"]]
    if order["num_gpu"] >= 0:
        args += ["-ngl", str(order["num_gpu"])]
    args += _device_args(order)
    if order["direct_io"]:
        args += ["--load-mode", "dio"]
    elif order["use_mmap"] is False:
        args += ["--no-mmap"]
    if order["kv_cache_type"]:
        args += ["-ctk", order["kv_cache_type"], "-ctv", order["kv_cache_type"]]
    if order["flash_attention"] is not None:
        args += ["-fa", "on" if order["flash_attention"] else "off"]
    if not order["warms_up"]:
        args += ["--no-warmup"]
    if not order["fits_memory"]:
        args += ["--fit", "off"]
    elif order["fit_target_mib"]:
        args += ["--fit-target", str(order["fit_target_mib"])]
    for path in order["adapters"]:
        args += ["--lora", path]
    if order["projector"]:
        args += ["--mmproj", order["projector"]]
        if order["projector_on_cpu"]:
            args += ["--no-mmproj-offload"]
    args += _speculation_args(order)
    if order["embedding"]:
        args += ["--embeddings"]
        if order["pooling"]:
            args += ["--pooling", order["pooling"]]
    return args


def _speculation_args(order: dict[str, Any]) -> list[str]:
    found = order["speculation"]
    if found is None:
        return []
    args = ["--spec-type", found["kind"]]
    if order["draft"]:
        args += ["--spec-draft-model", order["draft"]]
    if found["kind"].startswith("draft-"):
        return [*args, "--spec-draft-n-max", str(found["tokens"])]
    flag = f"--spec-{found['kind']}-size"
    return [*args, f"{flag}-n", str(found["match"]), f"{flag}-m", str(found["tokens"])]


def _device_args(order: dict[str, Any]) -> list[str]:
    args = []
    if order["main_gpu"] is not None:
        args += ["--split-mode", "none"] if order["is_one_gpu"] else []
        args += ["--main-gpu", str(order["main_gpu"])]
    elif order["devices"]:
        args += ["--device", ",".join(order["devices"])]
    if order["tensor_split"]:
        args += ["--tensor-split", ",".join(f"{share:g}" for share in order["tensor_split"])]
    return args


def completion_body(request: CompletionRequest, num_ctx: int) -> dict[str, Any]:
    """The `/completion` body. Every sampling value is given: the engine's defaults are not Ollama's."""
    options = request.sampling
    body: dict[str, Any] = {
        "prompt": request.prompt,
        "stream": True,
        "return_progress": True,
        "n_predict": _bounded_predict(options.num_predict, num_ctx),
        "n_keep": options.num_keep,
        "temperature": options.temperature,
        "top_k": options.top_k,
        "top_p": options.top_p,
        "min_p": options.min_p,
        "typical_p": options.typical_p,
        # All of the context, which is also as far as it makes sense to look back.
        "repeat_last_n": num_ctx if options.repeat_last_n < 0 else min(options.repeat_last_n, num_ctx),
        "repeat_penalty": options.repeat_penalty,
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
        "seed": options.seed,
        "stop": list(options.stop),
        "cache_prompt": options.cache_prompt,
    }
    if request.images:
        body["prompt"] = {
            "prompt_string": request.prompt,
            "multimodal_data": [base64.b64encode(image).decode("ascii") for image in request.images],
        }
    if request.grammar:
        body["grammar"] = request.grammar
    if request.top_logprobs is not None:
        # 0 would switch log probabilities off; the token's own one comes with any n.
        body["n_probs"] = max(request.top_logprobs, 1)
    if request.preserved_tokens:
        body["preserved_tokens"] = list(request.preserved_tokens)
    if request.wants_counts:
        body["timings_per_token"] = True
    if request.logit_bias:
        body["logit_bias"] = [[token, bias] for token, bias in request.logit_bias]
    return body


def _bounded_predict(num_predict: int, num_ctx: int) -> int:
    """Ollama bounds every reply to ten contexts, so that a model which never ends does end."""
    limit = 10 * num_ctx
    return limit if num_predict < 0 or num_predict > limit else num_predict


def is_progress(event: dict[str, Any]) -> bool:
    """Whether an event only reports progress of the prompt (its token ids are not real)."""
    return "prompt_progress" in event and not event.get("content")


def parse_event(event: dict[str, Any], logprobs: LogprobReader | None) -> Piece:
    """One completion event as a piece, with log probabilities if there is a reader of them.

    Raises:
        EngineError: the event is an error record.
    """
    if "error" in event:
        raise engine_error(500, orjson.dumps({"error": event["error"]}))
    entries = logprobs.read(event) if logprobs is not None else ()
    if not event["stop"]:
        so_far = _end(event, "length") if "timings" in event else None
        return Piece(event["content"], entries, so_far=so_far)
    return Piece(
        event["content"], entries, _end(event, "length" if event["stop_type"] == "limit" else "stop")
    )


def _end(event: dict[str, Any], reason: Literal["stop", "length"]) -> Final:
    timings = event["timings"]
    return Final(
        reason=reason,
        prompt_count=timings["cache_n"] + timings["prompt_n"],
        cached_count=timings["cache_n"],
        prompt_duration_ns=int(timings["prompt_ms"] * 1_000_000),
        predicted_count=timings["predicted_n"],
        predicted_duration_ns=int(timings["predicted_ms"] * 1_000_000),
        stopping_word=event.get("stopping_word", ""),
        slot=event.get("id_slot", -1),
        draft_count=timings.get("draft_n", 0),
        draft_accepted_count=timings.get("draft_n_accepted", 0),
    )


def engine_error(status: int, body: bytes) -> EngineError | ContextOverflowError:
    """An engine's error answer; a prompt that is too long has its own error class on every surface."""
    text = body.decode("utf-8", "replace").strip()
    message = text
    try:
        error = orjson.loads(body)["error"]
        message, status = str(error["message"]), int(error.get("code", status))
        if error.get("type") == "exceed_context_size_error":
            return ContextOverflowError(
                message, prompt_count=int(error.get("n_prompt_tokens", 0)), num_ctx=int(error.get("n_ctx", 0))
            )
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
        pass
    return EngineError(status, text, message)


def too_long(token_count: int, num_ctx: int) -> ContextOverflowError:
    """The error for a prompt that does not fit, in the engine's words."""
    request, context = f"request ({token_count} tokens)", f"the available context size ({num_ctx} tokens)"
    message = f"{request} exceeds {context}, try increasing it"
    return ContextOverflowError(message, prompt_count=token_count, num_ctx=num_ctx)


def vector(text: str) -> array[float]:
    """32-bit numbers as the engine packs them."""
    return array("f", base64.b64decode(text))


def _is_about_grammar(error: EngineError | ContextOverflowError) -> bool:
    """Whether the engine refused a request for its grammar; only the text of its error shows that."""
    return isinstance(error, EngineError) and error.status == 400 and "grammar" in str(error)


def refusal(request: CompletionRequest, status: int, body: bytes) -> CorralError:
    """Why the engine did not begin a completion."""
    error = engine_error(status, body)
    if request.grammar and _is_about_grammar(error):
        refusal = SchemaError("invalid grammar: the engine cannot parse it, or finds it too large")
        refusal.__cause__ = error
        return refusal
    return error


def take_events(
    data: bytes,
    logprobs: LogprobReader | None,
    pieces: list[Piece],
    note_progress: Callable[[dict[str, Any]], None],
) -> bytes:
    """Append what complete server-sent events in `data` say to `pieces`; the rest waits for more bytes.

    Raises:
        EngineError, ContextOverflowError: one of them is an error; those before it were appended.
    """
    *events, tail = data.split(b"\n\n")
    for raw in events:
        if not raw.startswith(b"data: "):
            if raw.startswith(b"error: "):
                raise engine_error(500, raw[7:])
            continue  # a comment: the engine's keep-alive
        event = orjson.loads(raw[6:])
        if is_progress(event):
            note_progress(event["prompt_progress"])
        else:
            pieces.append(parse_event(event, logprobs))
    return tail
