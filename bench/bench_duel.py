"""Chat servers against each other: any that speak Ollama's or OpenAI's interface, and Corrals of other checkouts.

    python -m bench.bench_duel --model NAME --peer ollama=http://127.0.0.1:11434 --peer other=http://127.0.0.1:8080
    python -m bench.bench_duel --model corral-tiny --corral before=../before --corral after=. --quick

The peers take turns at every figure, the first one changing, so that whatever else the machine does meets all of
them. Read are the ratios to the first peer. docs/benchmarks.md explains the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.duel.contest import Results, measure_scale, run_round
from bench.duel.figures import Part, Sizes, groups, parts
from bench.duel.launch import corral, engine, pull_missing
from bench.duel.peers import Peer, server_url
from bench.duel.plot import svg
from bench.duel.prompts import PromptMaker
from bench.duel.report import as_json, load_line, markdown, table, terminal
from bench.duel.streams import PeerError


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise argparse.ArgumentTypeError(f"NAME=VALUE is expected, not {text!r}")
    return name, value


def _variable(text: str) -> tuple[str, str, str]:
    name, separator, rest = text.partition(":")
    if not (name and separator):
        raise argparse.ArgumentTypeError(f"NAME:KEY=VALUE is expected, not {text!r}")
    return name, *_pair(rest)


def _groups(text: str) -> list[str]:
    wanted = text.split(",")
    if unknown := set(wanted) - set(groups()):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not among {', '.join(groups())}")
    return wanted


class _AddServer(argparse.Action):
    """Peers and Corrals in one list: the first one written is what the others are compared with."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.servers = [*namespace.servers, ((option_string or "").lstrip("-"), *values)]


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    server: dict[str, Any] = {"action": _AddServer, "type": _pair, "dest": "servers", "default": []}
    parser.add_argument("--peer", metavar="NAME=URL", help="a running server", **server)
    parser.add_argument("--corral", metavar="NAME=PATH", help="start the Corral of this checkout", **server)
    parser.add_argument(
        "--engine", metavar="NAME=FILE", help="start llama.cpp's own server with this GGUF", **server
    )
    parser.add_argument("--model", required=True, help="model of the chats")
    parser.add_argument("--embed-model", default="", help="model of the embeddings (default: none are made)")
    parser.add_argument("--model-of", metavar="NAME=MODEL", type=_pair, action="append", default=[],
                        help="what --model is called at one peer")  # fmt: skip
    parser.add_argument("--store", metavar="DIR", type=Path, help="model folder that all --corral servers share "
                        "(default: an empty one each, models are pulled)")  # fmt: skip
    parser.add_argument("--env", metavar="NAME:KEY=VALUE", type=_variable, action="append", default=[],
                        help="a variable for one --corral server")  # fmt: skip
    parser.add_argument("--pid", metavar="NAME=PID", type=_pair, action="append", default=[],
                        help="process of a peer, to measure its memory")  # fmt: skip
    parser.add_argument("--rounds", type=int, help="default 5, with --quick 2")
    parser.add_argument("--quick", action="store_true", help="short replies, a context of 4,096 tokens")
    parser.add_argument(
        "--only", metavar="GROUP,...", type=_groups, default=groups(), help=", ".join(groups())
    )
    parser.add_argument("--ctx", type=int, help="tokens of context; default 8,704 or what the model has")
    parser.add_argument("--timeout", type=float, default=300, help="seconds that a request may take")
    parser.add_argument("--seed", help="of the prompts; default: the time, so that runs differ")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all samples")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the ratios as SVG")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the table")
    arguments = parser.parse_args(argv)
    names = [name for _, name, _ in arguments.servers]
    if not names or len(set(names)) < len(names):
        parser.error("name at least one server with --peer or --corral, each differently")
    started = {name for kind, name, _ in arguments.servers if kind == "corral"}
    own = {name for kind, name, _ in arguments.servers if kind == "peer"}
    for option, known, used in (
        ("--env", started, arguments.env),
        ("--pid", own, arguments.pid),
        ("--model-of", set(names), arguments.model_of),
    ):
        if unknown := {entry[0] for entry in used} - known:
            parser.error(f"{option}: no such server: {', '.join(sorted(unknown))}")
    if not all(pid.isdecimal() for _, pid in arguments.pid):
        parser.error("--pid: NAME=NUMBER is expected")
    return arguments


def _open_peers(arguments: argparse.Namespace, stack: contextlib.ExitStack) -> list[Peer]:
    """Start what is to be started and find out what each server speaks. Raises PeerError."""
    models, pids = dict(arguments.model_of), dict(arguments.pid)
    peers = []
    for kind, name, place in arguments.servers:
        url, pid = place, int(pids.get(name, 0))
        if kind == "corral":
            env = {key: value for owner, key, value in arguments.env if owner == name}
            url, pid = stack.enter_context(corral(Path(place), arguments.store, env))
        elif kind == "engine":
            model = models.get(name, arguments.model)
            url, pid = stack.enter_context(engine(Path(place), model, arguments.ctx or 0))
        peer = Peer(
            name,
            server_url(url),
            models.get(name, arguments.model),
            arguments.embed_model,
            arguments.timeout,
            pid=pid,
        )
        try:
            peer.detect()
            if kind == "corral":
                pull_missing(peer, [peer.model, peer.embed_model])
        except PeerError as e:
            raise PeerError(f"{name} ({url}): {e}") from e
        peers.append(peer)
    return peers


def _sizes(arguments: argparse.Namespace, peers: Sequence[Peer]) -> Sizes:
    """As asked for, within the shortest context that any peer reports."""
    limits = [length for peer in peers if (length := peer.context_length())]
    num_ctx = min([arguments.ctx or (4096 if arguments.quick else 8704), *limits])
    for peer in peers:
        peer.num_ctx = num_ctx
    return Sizes.quick(num_ctx) if arguments.quick else Sizes(num_ctx)


def _compete(
    arguments: argparse.Namespace, peers: Sequence[Peer], sizes: Sizes, wanted: Sequence[Part], seed: str
) -> Results:
    """All rounds. What was measured until Ctrl-C or SIGTERM counts."""
    results = Results([figure for part in wanted for figure in part.figures], [peer.name for peer in peers])
    rounds = arguments.rounds or (2 if arguments.quick else 5)

    begin, end = ("\r\033[K", "") if sys.stderr.isatty() else ("", "\n")

    def progress(text: str) -> None:
        print(f"{begin}round {number + 1}/{rounds}: {text}", end=end, file=sys.stderr, flush=True)

    try:
        scale = measure_scale(peers)
        for number in range(rounds):
            run_round(
                number,
                wanted,
                peers,
                sizes,
                lambda part, number=number: PromptMaker(f"{seed} {number} {part}", scale),  # type: ignore[misc]
                results,
                progress,
            )
    except KeyboardInterrupt:
        print("\nstopped; what was measured so far:", file=sys.stderr)
    print(begin, end="", file=sys.stderr)
    return results


def main() -> int:
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers that were started are stopped
    core_count = os.cpu_count() or 1
    start_load = os.getloadavg()[0]
    seed = arguments.seed or str(time.time_ns())
    print(load_line("start", start_load, core_count))
    with contextlib.ExitStack() as stack:
        try:
            peers = _open_peers(arguments, stack)
        except PeerError as e:
            print(f"error: {e}", file=sys.stderr)
            return 2
        sizes = _sizes(arguments, peers)
        for peer in peers:
            print(
                f"{peer.name}: {f'Ollama interface, {peer.version}' if peer.is_ollama else 'OpenAI interface'}"
            )
        print(f"model {arguments.model}, context {sizes.num_ctx}, seed of the prompts {seed}\n", flush=True)
        wanted = [part for part in parts(sizes) if part.group in arguments.only]
        results = _compete(arguments, peers, sizes, wanted, seed)
    end_load = os.getloadavg()[0]
    content = table(results)
    print(terminal(content) + "\n")
    print(load_line("end", end_load, core_count))
    if arguments.markdown:
        arguments.markdown.write_text(markdown(content) + "\n")
    if arguments.json:
        about = {
            "machine": f"{platform.system()} {platform.machine()}, {core_count} cores",
            "load": {"start": start_load, "end": end_load},
            "model": arguments.model,
            "embed_model": arguments.embed_model,
            "num_ctx": sizes.num_ctx,
            "quick": arguments.quick,
            "seed": seed,
            "peers": {peer.name: peer.version or "OpenAI interface" for peer in peers},
            "figures": as_json(results),
        }
        arguments.json.write_text(json.dumps(about, indent=1) + "\n")
    if arguments.plot:
        try:
            arguments.plot.write_text(svg(results))
        except ValueError as e:
            print(f"no plot: {e}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
