"""The log of a running server answers why: an eviction, a reload, a wait, a retry after out of memory."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

from tests.conftest import PLAIN_TEMPLATE, Server
from tests.waiting import wait_until


def says(server: Server, pattern: str) -> re.Match[str]:
    """The first line of the log that holds the pattern, once there is one."""
    found: list[re.Match[str]] = []

    def holds() -> bool:
        found.extend(match for line in list(server.log) if (match := re.search(pattern, line)))
        return bool(found)

    wait_until(holds, f"the log never says {pattern}: {''.join(server.log)}")
    return found[0]


def ask(server: Server, model: str, **options: int) -> None:
    server.post("/api/generate", {"model": model, "prompt": "x y", "stream": False, "options": options})


def test_the_log_says_why(fake_server: Callable[..., Server]) -> None:
    """One request after the other, each with its id on the lines of the scheduler that it caused."""
    server = fake_server({"OLLAMA_DEBUG": "1", "OLLAMA_MAX_LOADED_MODELS": "1"}, tokens=3)
    server.create("n", "tiny", template=PLAIN_TEMPLATE)
    ask(server, "m")
    first = says(server, r' loading model=m:latest reason="not loaded" .* request=(\w+)')[1]
    line = says(server, rf"request id={first} .*")[0]
    assert re.search(
        r" status=200 ms=[\d.]+ model=m prompt_tokens=\d+ tokens=3 queue_ms=[\d.]+ load_ms=[\d.]+ tok_s=3000\.0$",
        line,
    )
    ask(server, "n")
    room = "room for n:latest: limit of 1 loaded model"
    evicted = says(server, rf' unloaded model=m:latest reason="{room}" request=(\w+)')
    assert evicted[1] != first
    says(server, rf"request id={evicted[1]} method=POST path=/api/generate")
    ask(server, "n", num_ctx=300)
    says(server, r' unloaded model=n:latest reason="reload for n:latest: num_ctx \d+ -> 300" request=\w+')
    says(server, r' loading model=n:latest reason="reload: num_ctx \d+ -> 300" num_ctx=300 ')
    says(server, r" run request=\w+ model=n:latest prompt_\w+=\d+ images=0 cut=0 chat=\w+ .* constraint=none")
    server.request("POST", "/api/generate", {"model": "n", "prompt": "x", "options": {"num_ctx": "many"}})
    says(server, r"path=/api/generate status=500 .* model=n error=OptionError\(")
    server.post("/api/generate", {"model": "n", "keep_alive": 0})
    says(server, r' unloaded model=n:latest reason="unload requested"')


def test_the_log_says_what_a_request_waits_for(fake_server: Callable[..., Server]) -> None:
    """A request for another model waits for the busy one."""
    server = fake_server(
        {"OLLAMA_DEBUG": "1", "OLLAMA_MAX_LOADED_MODELS": "1", "OLLAMA_NUM_PARALLEL": "1"},
        tokens=10**6,
        delay_s=0.002,
    )
    server.create("n", "tiny", template=PLAIN_TEMPLATE)
    threads = [threading.Thread(target=ask, args=(server, "m"), kwargs={"num_predict": 300})]
    threads[0].start()
    says(server, r" granted model=m:latest")
    for model in ("m", "n"):
        threads.append(threading.Thread(target=ask, args=(server, model), kwargs={"num_predict": 1}))
        threads[-1].start()
        if model == "m":
            says(server, r' queued model=m:latest for="a free slot" slots=1 waiting=1 request=\w+')
    says(
        server, r' queued model=n:latest for="m:latest to become idle \(room for n:latest: .*\)" request=\w+'
    )
    for thread in threads:
        thread.join()
    says(server, r"path=/api/generate .* model=n .* queue_ms=[\d.]+ load_ms=")


def test_the_log_says_what_a_retry_gives_up(fake_server: Callable[..., Server]) -> None:
    """Out of memory with four slots: the second attempt takes one; what the engine wrote is in the log too."""
    server = fake_server({"OLLAMA_DEBUG": "1"}, tokens=3, max_slots=1)
    ask(server, "m")
    says(server, r"DEBUG corral\.engine model=m:latest E ggml_aligned_malloc: insufficient memory")
    says(server, r" load failed model=m:latest error=.*insufficient memory")
    says(server, r' loading model=m:latest reason="retry after out of memory: slots [24] -> 1, .*" num_ctx=')


def test_without_debug_only_decisions_are_logged(fake_server: Callable[..., Server]) -> None:
    server = fake_server(tokens=3)
    ask(server, "m")
    says(server, r"path=/api/generate status=200")
    assert not [line for line in server.log if " DEBUG " in line]
