"""`key`: makes, lists, shows, rotates and revokes API keys, through the server or in the database itself."""

from __future__ import annotations

import sys
import time

from corral.cli.frame.flags import PROGRAM, Arguments, UsageError
from corral.cli.keys.backend import open_backend
from corral.cli.terminal.formatting import format_age, parse_time
from corral.cli.terminal.screen import safe
from corral.cli.terminal.tables import screen_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIMITS = ("rpm", "tpm", "tokens_per_day", "max_parallel", "max_predict")
_USAGE = f"usage: {PROGRAM} key [create NAME | list | show KEY | rotate KEY | revoke KEY]"


def key(arguments: Arguments) -> None:
    """`key create NAME`, `key list`, `key show KEY`, `key rotate KEY`, `key revoke KEY`; KEY is an id or a name."""
    match arguments.words:
        case ["create", name]:
            _print_new(open_backend().create(_order(arguments, name)), arguments)
        case ["list"]:
            _print_all(open_backend().keys(), arguments)
        case ["show", wanted]:
            _print_one(open_backend().show(wanted), arguments)
        case ["rotate", wanted]:
            _print_new(open_backend().rotate(wanted, arguments.get("grace", "24h")), arguments)
        case ["revoke", wanted]:
            _revoke(open_backend().revoke(wanted), arguments)
        case _:
            raise UsageError(_USAGE)


def _order(arguments: Arguments, name: str) -> dict[str, Any]:
    """The body of `POST /api/keys`."""
    order: dict[str, Any] = {
        "name": name,
        "scopes": arguments.strings("scope"),
        "models": arguments.strings("model"),
        "expires": arguments.get("expires"),
        "note": arguments.get("note"),
        "priority": arguments.get("priority"),
        **{name: arguments.integer(name.replace("_", "-")) for name in _LIMITS},
    }
    return {member: value for member, value in order.items() if value}


def _print_new(made: dict[str, Any], arguments: Arguments) -> None:
    """The text of the key alone on standard output, so that a script can take it; what it is on standard error."""
    if arguments.has("json"):
        _print_json(made)
        return
    print(f"{_line(made)}\nThis is the only time that the key is shown:", file=sys.stderr)
    print(made["key"])


def _print_all(keys: list[dict[str, Any]], arguments: Arguments) -> None:
    if arguments.has("json"):
        _print_json({"keys": keys})
        return
    rows = []
    for shown in keys:
        expires = format_age(parse_time(shown["expires_at"])) if "expires_at" in shown else "never"
        row = (shown["id"], safe(shown["name"]), shown["status"], ",".join(shown["scopes"]), _models(shown))
        # A server of an earlier version does not have classes.
        rows.append((*row, shown.get("priority", "normal"), expires))
    header = ("ID", "NAME", "STATUS", "SCOPES", "MODELS", "PRIORITY", "EXPIRES")
    sys.stdout.write(screen_table(rows, header=header, dispensable=("MODELS", "SCOPES", "PRIORITY")))


def _print_one(shown: dict[str, Any], arguments: Arguments) -> None:
    if arguments.has("json"):
        _print_json(shown)
        return
    for name, value in shown.items():
        text = "all" if value is None else ", ".join(value) if isinstance(value, list) else str(value)
        print(f"  {name.replace('_', ' '):<22}{safe(text)}")


def _revoke(revoked: dict[str, Any], arguments: Arguments) -> None:
    if arguments.has("json"):
        _print_json(revoked)
    else:
        print(f"revoked {_line(revoked)}")


def _line(shown: dict[str, Any]) -> str:
    expiry = parse_time(shown["expires_at"]) if "expires_at" in shown else None
    priority = f"; {shown['priority']}" if shown.get("priority", "normal") != "normal" else ""
    days = f", expires in {max(int(expiry.timestamp() - time.time()), 0) // 86400} days" if expiry else ""
    what = f"{', '.join(shown['scopes'])}; models: {_models(shown)}{priority}{days}"
    return f"key {shown['id']} '{safe(shown['name'])}': {what}"


def _models(shown: dict[str, Any]) -> str:
    return "all" if shown["models"] is None else ",".join(shown["models"])


def _print_json(value: Any) -> None:
    from corral.cli.terminal.json_output import print_json

    print_json(value)
