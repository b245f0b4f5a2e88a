"""A model as a client names it, as the nodes have it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from corral.api.cluster.hopping import NODE
from corral.api.http.exchange import Exchange
from corral.cluster.view import View
from corral.errors import InvalidRequestError, NodeNotFoundError
from corral.names import ModelName, parse_ref


def full_name(text: str, view: View) -> str | None:
    """The full name under which nodes have the model, in whatever letter case; None if none has it."""
    holders = view.models or {}
    try:
        name = _full(text)
    except InvalidRequestError:
        return None
    if name in holders:
        return name
    lower = name.lower()
    return next((known for known in holders if known.lower() == lower), None)


@lru_cache(1024)
def _full(text: str) -> str:
    """Raises InvalidRequestError: it is not a model's name."""
    return ModelName.parse(parse_ref(text).base).full()


def holders_of(name: str, view: View) -> Mapping[str, str]:
    """Digests of a model by the nodes that have it."""
    return {node.id: node.models[name] for node in view.nodes.values() if name in node.models}


def node_asked_for(exchange: Exchange, view: View) -> str:
    """The node that the client names in a header; empty if it leaves the choice to us.

    Raises:
        NodeNotFoundError: there is no such node.
    """
    name = exchange.header(NODE)
    if name and name not in view.nodes:
        shown = name[:100]
        raise NodeNotFoundError(
            f"there is no node {shown!r} in the cluster", hint="GET /api/cluster lists them"
        )
    return name
