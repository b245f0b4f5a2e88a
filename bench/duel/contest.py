"""The peers take turns; samples and errors are collected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bench.duel.figures import Figure, Part, Sizes, Turn
from bench.duel.peers import Peer, RouteMissingError
from bench.duel.prompts import PromptMaker, Scale
from bench.duel.streams import PeerError

Cell = tuple[str, str]


@dataclass(slots=True)
class Results:
    """Samples and errors, by key of the figure and name of the peer."""

    figures: list[Figure]
    peers: list[str]
    samples: dict[Cell, list[float]] = field(default_factory=dict)
    errors: dict[Cell, str] = field(default_factory=dict)

    def of(self, figure: Figure, peer: str) -> list[float]:
        return self.samples.get((figure.key, peer), [])


def order(count: int, number: int) -> Iterator[int]:
    """Which peer comes when in the turn of this number: each of them is first equally often."""
    yield from ((number + i) % count for i in range(count))


def measure_scale(peers: Sequence[Peer]) -> Scale:
    """How many tokens a word of a prompt has, from the first peer that says so."""
    maker = PromptMaker("scale", Scale())
    for peer in peers:
        counted: list[tuple[int, int]] = []
        try:
            for words in (20, 120):
                messages = [
                    {"role": "system", "content": maker.text(words)},
                    {"role": "user", "content": "Go on."},
                ]
                counted.append((words, peer.chat(messages, 1).prompt_count))
            return Scale.measured(counted[0], counted[1])
        except (PeerError, ValueError):
            continue
    return Scale()


def run_round(
    number: int,
    parts: Sequence[Part],
    peers: Sequence[Peer],
    sizes: Sizes,
    make: Callable[[str], PromptMaker],
    results: Results,
    progress: Callable[[str], None],
) -> None:
    """One round: each part, one peer after another.

    `make` gives the prompts of a part by its name. A part that failed and never succeeded is not tried again.
    """
    for position, part in enumerate(parts):
        for index in order(len(peers), number + position):
            peer = peers[index]
            keys = [figure.key for figure in part.figures]
            cells = [(key, peer.name) for key in keys]
            if any(cell in results.errors for cell in cells) and not any(c in results.samples for c in cells):
                continue
            progress(f"{keys[0]} {peer.name}")
            got: set[str] = set()
            try:
                _prepare(part, peer)
                for key, value in part.measure(Turn(peer, sizes, make(f"{position} {keys[0]}"))):
                    results.samples.setdefault((key, peer.name), []).append(value)
                    got.add(key)
            except RouteMissingError:
                continue
            except Exception as e:  # a server that is not ours may answer anything: the others go on
                text = str(e) if isinstance(e, PeerError) else f"{type(e).__name__}: {e}"
                for key in keys:
                    if key not in got:
                        results.errors.setdefault((key, peer.name), text)


def _prepare(part: Part, peer: Peer) -> None:
    """Load the model, should another one have taken its place."""
    if part.model == "chat":
        peer.chat([{"role": "user", "content": "Hi"}], 1)
    elif part.model == "embed":
        if not peer.embed_model:
            raise RouteMissingError("no model for embeddings was given")
        peer.embed(["Hi"])
