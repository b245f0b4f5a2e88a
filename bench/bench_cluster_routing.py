"""What routing a request costs: its keys from the body, and the choice among nodes.

    python -m bench.bench_cluster_routing [--nodes 3 50 1000] [--repeat 2000]

All nodes have the model in memory and are busy to different degrees. Microseconds of wall-clock time, so only figures
from a quiet machine count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from random import Random

from corral.cluster.conversation import conversation_pieces
from corral.cluster.directory import Directory, Heartbeat
from corral.cluster.keys import Prompt, prompt_of, seed_of
from corral.cluster.router import Router
from corral.cluster.view import LoadedModel, Wanted

_MODEL, _DIGEST = "registry.ollama.ai/library/m:latest", "sha256:1"
_SYSTEM = "You answer questions about the manual. " * 100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[3, 50, 1000])
    parser.add_argument("--repeat", type=int, default=2000)
    given = parser.parse_args()
    bodies = [_body(i) for i in range(200)]
    size = sum(sum(map(len, conversation_pieces(body))) for body in bodies) // len(bodies)
    _report(
        f"keys of a conversation of {size} bytes", given.repeat, lambda i: _prompt(bodies[i % len(bodies)])
    )
    prompts = [_prompt(body) for body in bodies]
    for count in given.nodes:
        router = _router(count)

        def route(i: int, router: Router = router) -> None:
            prompt = prompts[i * 7 % len(prompts)]
            routed = router.route(Wanted(_MODEL, keys=prompt.keys, answers=prompt.answers, seed=i), 0.0)
            router.answered(routed, 0.0)
            router.ended(routed, 0.0)

        _report(f"route, answered and ended, {count} nodes", given.repeat, route)


def _report(what: str, repeat: int, work: Callable[[int], object]) -> None:
    times = []
    for i in range(repeat):
        begin_s = time.perf_counter()
        work(i)
        times.append(time.perf_counter() - begin_s)
    times.sort()
    p50, p99 = (times[int(repeat * share)] * 1e6 for share in (0.5, 0.99))
    print(f"{what}: p50 {p50:.0f} us, p99 {p99:.0f} us", flush=True)


def _body(number: int) -> dict[str, object]:
    messages = [{"role": "system", "content": _SYSTEM}]
    for turn in range(4):
        messages.append({"role": "user", "content": f"Question {turn} of conversation {number}? " * 5})
        messages.append({"role": "assistant", "content": f"Answer {turn} of conversation {number}. " * 30})
    return {"model": "m", "messages": [*messages, {"role": "user", "content": "And then?"}]}


def _prompt(body: dict[str, object]) -> Prompt:
    return prompt_of(seed_of(_DIGEST), conversation_pieces(body))


def _router(count: int) -> Router:
    router, chance = Router(Directory()), Random(1)
    for i in range(count):
        loaded = {_DIGEST: LoadedModel(_DIGEST, 4, chance.randrange(4))}
        beat = Heartbeat(f"n{i:04}", "1", 1, f"http://n{i}", models={_MODEL: _DIGEST}, loaded=loaded)
        router.heard(beat, 0.0)
    return router


if __name__ == "__main__":
    main()
