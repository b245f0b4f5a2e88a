"""`audit`: shows the last acts in the audit log of this machine, and checks that no line of it was changed."""

from __future__ import annotations

import json
import sys
from collections import deque

from corral.access.audit import AuditLog, check
from corral.access.auditing import audit_log
from corral.cli.frame.flags import PROGRAM, Arguments, UsageError
from corral.cli.terminal.screen import safe
from corral.cli.terminal.tables import screen_table
from corral.config import Settings
from corral.errors import CorralError

_SHOWN = 20


def audit(arguments: Arguments) -> int:
    """`audit [show]` and `audit check`."""
    log = audit_log(Settings.load())
    if log is None:
        raise CorralError("the audit log is off", hint="CORRAL_AUDIT=off is set")
    match arguments.words or ["show"]:
        case ["show"]:
            _show(log, arguments)
            return 0
        case ["check"]:
            return _check(log)
        case _:
            raise UsageError(f"usage: {PROGRAM} audit [show | check]")


def _show(log: AuditLog, arguments: Arguments) -> None:
    lines: deque[bytes] = deque(maxlen=max(arguments.integer("lines", _SHOWN), 1))
    for path in log.files():
        lines.extend(path.read_bytes().splitlines())
    if arguments.has("json"):
        for line in lines:
            print(line.decode("ascii", "replace"))
        return
    rows = []
    for line in lines:
        try:
            act = json.loads(line)
            row = (act["ts"][:19], act["actor"], act["address"] or "-", act["act"])
            rows.append(tuple(map(safe, (*row, " ".join(act["target"]) or "-", act["result"]))))
        except (ValueError, KeyError, TypeError):
            rows.append(("?", "?", "?", "a line that is not whole", "-", "-"))
    header = ("TIME", "WHO", "FROM", "ACT", "WHAT", "RESULT")
    sys.stdout.write(screen_table(rows, header=header, dispensable=("FROM",)))


def _check(log: AuditLog) -> int:
    count, problems = check(log)
    for problem in problems:
        print(problem)
    files = log.files()
    last = files[-1].name if files else "none"
    print(
        f"{count} acts in {len(files)} files, the last one {last}: {len(problems) or 'no'} problems",
        file=sys.stderr,
    )
    return 1 if problems else 0
