"""Is a prompt whose beginning was cached answered as if it were computed whole, and how much is cached?

    python -m bench.bench_prompt_cache --answers 10000 [--together 16] [--cache MIB] [--control]

Conversations of several turns come back in random order, more of them than the engine has slots, some with a seed;
answers are cancelled and texts embedded in between. Each answer is compared with that of a second server that never
caches anything. An answer is *wrong* if it differs although the two first tokens that differ were not about equally
likely, and the second server never gives it when it is asked again under the same load: the shape of a batch may
change the last digits, another conversation's state changes everything. `--control` has neither server cache
anything, which shows what the shape of a batch does by itself.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import random
import statistics
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.peers import Server

# So much may the shape of a batch change (natural logarithm of a probability): without any cache, 0.24 was seen with
# corral-tiny and 16 conversations at a time. State of another conversation changes everything.
_CLOSE = 0.5
# How often the second server is asked again about an answer that differs more.
_QUESTIONS = 20
_EMBEDDER = "embed"
_EMBEDDER_FILE = Path(__file__).parent.parent / "tests" / "fixtures" / "embed.gguf"
_WORDS = "river stone copper seven window garden letter winter music paper horse silver engine candle".split()


@dataclass
class Tally:
    answers: int = 0
    equal: int = 0
    close: int = 0
    # Differ more than `_CLOSE`, and the server without a cache gives them too.
    repeated: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    returning_tokens: int = 0
    returning_cached: int = 0
    canceled: int = 0
    first_ms: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def chat(
    server: Server, model: str, messages: list[dict[str, str]], options: dict[str, Any]
) -> dict[str, Any]:
    body = {
        "model": model, "messages": messages, "stream": False, "think": False,
        "options": {"temperature": 0, "num_predict": 6, **options}, "logprobs": True, "top_logprobs": 4,
    }  # fmt: skip
    answer: dict[str, Any] = server.call("/api/chat", body)
    return answer


def cancel(server: Server, model: str, messages: list[dict[str, str]]) -> None:
    """Leave in the middle of an answer."""
    connection = server.connect()
    body = {"model": model, "messages": messages, "options": {"num_predict": 200}}
    connection.request("POST", "/api/chat", json.dumps(body), {"Content-Type": "application/json"})
    connection.getresponse().read(20)
    connection.close()


def compare(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """`equal`, `close`, or what is wrong."""
    for mine, theirs in zip(found.get("logprobs") or [], wanted.get("logprobs") or [], strict=False):
        if mine["token"] != theirs["token"]:
            likely = {top["token"]: top["logprob"] for top in theirs.get("top_logprobs") or []}
            rival = likely.get(mine["token"])
            if rival is not None and abs(rival - theirs["logprob"]) < _CLOSE:
                return "close"
            return f"token {mine['token']!r} for {theirs['token']!r}: {rival} against {theirs['logprob']}"
        if abs(mine["logprob"] - theirs["logprob"]) > _CLOSE:
            return f"log probability of {mine['token']!r}: {mine['logprob']} for {theirs['logprob']}"
    return "equal" if found["message"]["content"] == wanted["message"]["content"] else "close"


def converse(
    servers: tuple[Server, Server], model: str, number: int, turns: int, tally: Tally, *, is_control: bool
) -> None:
    rng = random.Random(number)
    cached, plain = servers
    words = " ".join(rng.choice(_WORDS) for _ in range(rng.randint(5, 120)))
    messages = [{"role": "system", "content": f"Note {number}: {words}."}]
    seed = {"seed": number} if number % 2 else {}
    uncached = {**seed, "cache_prompt": False}
    for turn in range(turns):
        question = (
            f"Turn {turn}: which word comes after {rng.choice(_WORDS)}, and what is {number} plus {turn}?"
        )
        messages.append({"role": "user", "content": question})
        if rng.random() < 0.1:
            cancel(cached, model, messages)
            tally.canceled += 1
        if rng.random() < 0.05:
            cached.call("/api/embed", {"model": _EMBEDDER, "input": words})
        start_s = time.perf_counter()
        found = chat(cached, model, messages, uncached if is_control else seed)
        elapsed_ms = (time.perf_counter() - start_s) * 1000
        wanted = chat(plain, model, messages, uncached)
        verdict = compare(found, wanted)
        is_repeated = verdict not in ("equal", "close") and any(
            compare(found, chat(plain, model, messages, uncached)) in ("equal", "close")
            for _ in range(_QUESTIONS)
        )
        with tally.lock:
            tally.answers += 1
            tally.prompt_tokens += found["prompt_eval_count"]
            tally.cached_tokens += found.get("prompt_eval_cached_count", 0)
            if turn:
                tally.returning_tokens += found["prompt_eval_count"]
                tally.returning_cached += found.get("prompt_eval_cached_count", 0)
                tally.first_ms.append(elapsed_ms)
            if verdict == "equal":
                tally.equal += 1
            elif verdict == "close":
                tally.close += 1
            else:
                (tally.repeated if is_repeated else tally.wrong).append(
                    f"conversation {number}, turn {turn}: {verdict}"
                )
        messages.append({"role": "assistant", "content": wanted["message"]["content"]})


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--answers", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--together", type=int, default=16, help="conversations at a time")
    parser.add_argument("--cache", default="auto", help="CORRAL_CACHE_RAM of the server that is looked at")
    parser.add_argument("--control", action="store_true", help="neither server caches anything")
    arguments = parser.parse_args()
    model = "corral-tiny"
    cached, plain = Server(CORRAL_CACHE_RAM=arguments.cache), Server(CORRAL_CACHE_RAM="0")
    try:
        for server in (cached, plain):
            server.call("/api/pull", {"model": model, "stream": False})
            server.create(_EMBEDDER, _EMBEDDER_FILE)
        tally = Tally()
        with concurrent.futures.ThreadPoolExecutor(arguments.together) as pool:
            count = -(-arguments.answers // arguments.turns)
            jobs = [
                pool.submit(
                    converse,
                    (cached, plain),
                    model,
                    number,
                    arguments.turns,
                    tally,
                    is_control=arguments.control,
                )
                for number in range(count)
            ]
            for job in jobs:
                job.result()
    finally:
        cached.close()
        plain.close()
    share = tally.cached_tokens / tally.prompt_tokens
    returning = tally.returning_cached / max(tally.returning_tokens, 1)
    print(
        f"{tally.answers} answers, {tally.canceled} more cancelled, {arguments.together} conversations at a time"
    )
    print(
        f"equal {tally.equal}, about equally likely {tally.close},"
        f" given without a cache too {len(tally.repeated)}, wrong {len(tally.wrong)}"
    )
    print(f"prompt tokens from the cache: {share:.1%} of all, {returning:.1%} of later turns")
    print(f"later turns: median {statistics.median(tally.first_ms):.0f} ms")
    for line in [*tally.repeated, *tally.wrong][:20]:
        print(line)
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
