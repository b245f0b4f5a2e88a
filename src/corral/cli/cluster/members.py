"""`cluster status`, `drain`, `undrain` and `remove`: who belongs to the cluster, as the server that is asked sees."""

from __future__ import annotations

import sys

from corral.cli.frame.flags import Arguments
from corral.cli.http.address import server_client
from corral.cli.http.client import APIError
from corral.cli.terminal.formatting import format_bytes
from corral.cli.terminal.screen import safe
from corral.cli.terminal.tables import screen_table
from corral.errors import CorralError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_MISSING = 404
_DONE = {
    "drain": "{} takes nothing new",
    "undrain": "{} takes requests again",
    "forget": "{} does not belong to the cluster any more; it joins again with corral cluster leave and join",
    "remove": "{} does not belong to the cluster any more; take it out of CORRAL_CLUSTER_PEERS too",
}


def status(arguments: Arguments) -> None:
    """Print a table of the nodes, or the API's JSON."""
    found = _call("GET", "")
    if arguments.has("json"):
        from corral.cli.terminal.json_output import print_json

        print_json(found)
        return
    header = ("NODE", "URL", "STATE", "MODELS", "LOADED", "REQUESTS", "FREE", "VERSION", "CLOCK")
    rows = [_row(node) for node in found["nodes"]]
    sys.stdout.write(screen_table(rows, header=header, dispensable=("VERSION", "CLOCK", "URL", "FREE")))
    for node in found["nodes"]:
        if problem := node.get("problem"):
            print(f"{safe(node.get('name') or node['url'])}: {safe(problem)}", file=sys.stderr)
    for line in _plan(found):
        print(safe(line))


def _plan(found: dict[str, Any]) -> Iterator[str]:
    """What is wanted of models, and what is in the way."""
    for each in found.get("replicas", []):
        nodes = ", ".join(each["nodes"]) or "no node"
        yield f"{each['model']}: {len(each['nodes'])} of {each['wanted']} wanted in memory, on {nodes}"
        yield from each.get("problems", [])
    for each in found.get("conflicts", []):
        nodes = "; ".join(f"{digest[:12]} on {', '.join(names)}" for digest, names in each["nodes"].items())
        yield f"{each['model']} is not the same model everywhere ({nodes}); {each['digest'][:12]} is used"


def act(arguments: Arguments) -> None:
    """Do what the first word says with the node that the second one names."""
    what, node = arguments.words
    from urllib.parse import quote

    _call("POST", f"/nodes/{quote(node, safe='')}/{what}")
    if what == "remove":
        from corral.cli.cluster.leaving import forget

        what = "forget" if forget(node) else what
    print(_DONE[what].format(safe(node)))


def _call(method: str, rest: str) -> dict[str, Any]:
    client = server_client()
    try:
        found: dict[str, Any] = client.call(method, f"/api/cluster{rest}")
    except APIError as error:
        if error.status != _MISSING or error.hint:  # a server without a cluster knows nothing of the route
            raise
        raise CorralError(
            f"the server at {client.address.url()} does not belong to a cluster",
            hint="set CORRAL_CLUSTER_MODE=peers (docs/cluster.md)",
        ) from None
    return found


def _row(node: dict[str, Any]) -> tuple[str, ...]:
    loaded = node.get("loaded", [])
    requests = sum(model["running"] + model["waiting"] for model in loaded)
    names = ",".join(f"{model['model']} ({model['running']}/{model['slots']})" for model in loaded)
    skew = node.get("clock_skew_ms")
    return (
        safe(node.get("name") or "?"),
        safe(node["url"] or "(this server)"),
        _state(node),
        str(node.get("models", "-")),
        safe(names) or "-",
        str(requests),
        format_bytes(node["free"]) if "free" in node else "-",
        safe(node.get("version", "-")),
        "-" if skew is None else f"{skew / 1000:+.1f}s",
    )


def _state(node: dict[str, Any]) -> str:
    """One word for people: the worst that is known of it."""
    if node["standing"] in ("refused", "connecting"):
        return str(node["standing"])
    if node["health"] != "alive":
        return str(node["health"])
    if node.get("draining"):
        return "draining"
    return "failing" if node.get("breaker_open") else "alive"
