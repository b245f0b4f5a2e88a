"""`verify`: has the server check the files of models against their digests."""

from __future__ import annotations

import sys
from contextlib import closing

from corral.cli.frame.flags import PROGRAM, Arguments
from corral.cli.http.client import Client
from corral.cli.terminal.formatting import format_bytes
from corral.cli.terminal.progress import Progress
from corral.cli.terminal.screen import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DAMAGE_FOUND = 1


def verify(client: Client, arguments: Arguments) -> int:
    """Exit status 1 and a list if anything is damaged."""
    result: dict[str, Any] = {}
    with Progress() as progress, closing(client.stream("/api/verify", {"models": arguments.words})) as events:
        for event in events:
            if event.get("all_total"):
                progress.bar("verifying", event.get("all_completed", 0), event["all_total"])
            if event.get("status") == "success":
                result = event
    damaged: list[dict[str, str]] = result.get("damaged") or []
    if arguments.has("json"):
        from corral.cli.terminal.json_output import print_json

        print_json({name: value for name, value in result.items() if name != "status"})
    else:
        _print(result, damaged)
    return _DAMAGE_FOUND if damaged else 0


def _print(result: dict[str, Any], damaged: list[dict[str, str]]) -> None:
    checked = f"{result.get('blobs', 0)} files, {format_bytes(result.get('bytes', 0))}"
    if not damaged:
        print(f"no damage found: {checked}")
        return
    print(f"damaged, of {checked}:")
    for found in damaged:
        what = found["digest"].replace(":", "-")[:19] or "manifest"
        print(safe(f"  {found['model']}  {what}  {found['problem']}"))
    print(
        f"`{PROGRAM} pull MODEL` downloads a published model again; a local one has to be created again",
        file=sys.stderr,
    )
