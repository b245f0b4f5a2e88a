"""What a gateway knows of the servers at one moment, and what it decides from that. Values only.

A node is one Corral server. It says itself what it holds and does; a gateway keeps the newest of what it said, and
counts the requests that it sent there since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

# Chain of hashes of a prompt's blocks, each of 8 bytes: entry i stands for all blocks up to i.
PromptKeys = tuple[bytes, ...]
# Where answers lie in a chain: how many keys stand for what comes before one, and how many with it.
Answers = tuple[tuple[int, int], ...]


class Health(StrEnum):
    """`SUSPECT`: it has not been heard of for longer than it should be; requests may come back from it, none go."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that a node has in memory.

    Attributes:
        slots: how many requests run at a time; at least 1.
        running: requests that have a slot.
        waiting: requests that wait for one.
        is_loading: it is not ready yet.
        memory_bytes: what it takes; 0 if that is not known.
    """

    digest: str
    slots: int = 1
    running: int = 0
    waiting: int = 0
    is_loading: bool = False
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node.

    Attributes:
        id: its name in the cluster, stable over restarts.
        url: where it is reached, without a slash at the end; empty for the gateway itself.
        epoch: differs after each of its starts.
        health: as the gateway sees it.
        is_draining: it ends what it does and takes nothing new.
        is_open: the gateway's circuit breaker lets nothing through.
        models: digests of manifests by the full name of the model (`ModelName.full()`).
        loaded: by digest.
        sent: requests that this gateway has under way there, by digest; newer than `loaded`.
        sent_then: the same when the node last spoke, so that what others sent there can be told apart.
        free_bytes: memory for further models, on its best device.
        total_bytes: of that device.
        load_seconds: how long a load took there, by digest.
        request_seconds: for how long a request has a slot there, by digest, as this gateway measured it.
        block_seconds: how long a block of a prompt takes there that is not warm, measured in the same way.
        estimates: what follows from all of this, as `load.py` keeps it.
    """

    id: str
    url: str = ""
    epoch: str = ""
    health: Health = Health.ALIVE
    is_draining: bool = False
    is_open: bool = False
    models: Mapping[str, str] = field(default_factory=dict)
    loaded: Mapping[str, LoadedModel] = field(default_factory=dict)
    sent: Mapping[str, int] = field(default_factory=dict)
    sent_then: Mapping[str, int] = field(default_factory=dict)
    free_bytes: int = 0
    total_bytes: int = 0
    load_seconds: Mapping[str, float] = field(default_factory=dict)
    request_seconds: Mapping[str, float] = field(default_factory=dict)
    block_seconds: Mapping[str, float] = field(default_factory=dict)
    estimates: dict[tuple[str, int], Any] = field(init=False, default_factory=dict, compare=False, repr=False)

    def is_usable(self) -> bool:
        """Whether requests and models may go there."""
        return self.health is Health.ALIVE and not self.is_draining and not self.is_open

    def is_on(self, digest: str) -> bool:
        """Whether it has a model in memory, or will have by what was sent."""
        return digest in self.loaded or digest in self.sent

    def after(
        self,
        *,
        sent: Mapping[str, int] | None = None,
        request_seconds: Mapping[str, float] | None = None,
        block_seconds: Mapping[str, float] | None = None,
    ) -> NodeView:
        """The node with what each request changes. `dataclasses.replace` takes three times as long."""
        return NodeView(
            self.id,
            self.url,
            self.epoch,
            self.health,
            self.is_draining,
            self.is_open,
            self.models,
            self.loaded,
            self.sent if sent is None else sent,
            self.sent_then,
            self.free_bytes,
            self.total_bytes,
            self.load_seconds,
            self.request_seconds if request_seconds is None else request_seconds,
            self.block_seconds if block_seconds is None else block_seconds,
        )


@dataclass(frozen=True, slots=True)
class Holders:
    """Nodes that have a model under one name.

    Attributes:
        on: names of those that have it in memory, or were sent a request for it; sorted.
        off: all others; sorted.
        digests: how many nodes have each digest under the name.
    """

    on: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    digests: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """All nodes by name, at one moment.

    Attributes:
        me: the gateway's own name, if it serves models itself.
        models: by the full name of a model, the nodes that have it, so that nobody looks at all nodes for each
            request; None: not known, and all are looked at.
    """

    nodes: Mapping[str, NodeView]
    me: str = ""
    models: Mapping[str, Holders] | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request needs of a node.

    Attributes:
        model: full name.
        digest: of its manifest, if the caller asked for one; empty: what the nodes have under that name.
        keys: of the whole prompt; empty for requests that nothing can be reused for.
        answers: the model's earlier answers in it.
        session: of the client's own header; requests with the same one stay together.
        needs_bytes: what a load of it takes, if known.
        tried: nodes that have failed it.
        seed: decides ties, so that the choice is a function of its arguments.
    """

    model: str
    digest: str = ""
    keys: PromptKeys = ()
    answers: Answers = ()
    session: str = ""
    needs_bytes: int = 0
    tried: frozenset[str] = frozenset()
    seed: int = 0


class Why(StrEnum):
    """Why a node was chosen: a word for logs, metrics and headers."""

    ONLY = "only"
    SESSION = "session"
    PREFIX = "prefix"
    BALANCE = "balance"
    LOADED = "loaded"
    MEMORY = "memory"
    LEAST = "least"


@dataclass(frozen=True, slots=True)
class Decision:
    """`node` is empty if no node can take it. `share`: the part of the prompt, 0 to 1, that it should know."""

    node: str
    why: Why
    share: float = 0.0
