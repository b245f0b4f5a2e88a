"""The files of SQLite: keys, usage, stored responses; and the audit log, which is a file of lines."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from corral.access.audit import Act, AuditLog, check
from corral.access.database import KEYS
from corral.access.keys import KeyOrder
from corral.access.keystore import KeyStore
from corral.access.secret import digest_of
from corral.database import Schema, open_database
from corral.responses.sqlite import KeptResponse, ResponsesDB
from corral.usage.file import UsageFile
from corral.usage.rows import FIGURES, Place, Question, Sums
from tests.crashplans.workload import Step, Workload

_ANYTHING = "*"


def _intact(path: Path) -> Iterator[str]:
    if path.exists():
        with closing(sqlite3.connect(path)) as connection:
            (found,) = connection.execute("PRAGMA integrity_check").fetchone()
        if found != "ok":
            yield f"{path.name}: {found}"


# Keys


def _keys(root: Path) -> KeyStore:
    return KeyStore(root / "corral" / "corral.sqlite3")


def _old_keys(root: Path) -> None:
    """A database of the first version, with a key: it is brought up to date by the first step."""
    old = Schema(KEYS.what, KEYS.setting, KEYS.advice, KEYS.migrations[:1])
    with closing(open_database(_keys(root).path, old)) as connection:
        connection.execute(
            "INSERT INTO keys (id, name, digest, scopes, models, created_ns) VALUES (?, ?, ?, ?, NULL, 1)",
            ("old", "old", digest_of("old text"), '["infer"]'),
        )


def _make_key(name: str) -> Step:
    return Step(f"make {name}", lambda root: _keys(root).create(KeyOrder(name, ("infer",)))[1])


def _rotate(root: Path) -> str:
    store = _keys(root)
    return store.rotate(next(key.id for key in store.all_keys() if key.name == "a"))[1]


def _revoke(root: Path) -> None:
    store = _keys(root)
    for key in store.all_keys():
        if key.name == "b":  # several, if it was made again after a doubt
            store.revoke(key.id)


def _verify_upgraded(root: Path, answers: Mapping[str, Any], doubtful: str) -> Iterator[str]:
    yield from _verify_keys(root, answers, doubtful)
    if digest_of("old text") not in {key.digest for key in _keys(root).all_keys()}:
        yield "the key that was there before is gone"


def _verify_keys(root: Path, answers: Mapping[str, Any], doubtful: str) -> Iterator[str]:
    yield from _intact(_keys(root).path)
    keys = _keys(root).all_keys()
    valid = {digest for key in keys if not key.disabled_ns for digest in (key.digest, key.old_digest)}
    revoked = {digest for key in keys if key.disabled_ns for digest in (key.digest, key.old_digest)}
    for name in ("make a", "make b", "rotate a", "make c"):
        text = answers.get(name)
        if name == "make a" and "rotate a" in answers:
            continue  # a rotation that is repeated after a doubt ends the first text
        is_over = name == "make b" and ("revoke b" in answers or doubtful == "revoke b")
        if text is not None and digest_of(text) not in (valid | revoked if is_over else valid):
            yield f"the key of {name!r} does not work"
    if "revoke b" in answers and digest_of(answers["make b"]) in valid:
        yield "a key that was revoked works again"


# Usage


def _usage(root: Path) -> Path:
    return root / "corral" / "usage.sqlite3"


def _add(number: int) -> Step:
    def do(root: Path) -> None:
        file = UsageFile(_usage(root))
        sums: Sums = [number] * len(FIGURES)
        rows: dict[Place, Sums] = {
            ("2026-01-02", "k", f"m{model}", "native"): list(sums) for model in range(3)
        }
        try:
            file.add(rows, oldest="2026-01-01")
        finally:
            file.close()

    return Step(f"add {number}", do)


_ADDED = (1, 10, 100)


def _verify_usage(root: Path, answers: Mapping[str, Any], doubtful: str) -> Iterator[str]:
    """Each step is counted wholly or not at all; one that is repeated after a doubt may count twice."""
    yield from _intact(_usage(root))
    file = UsageFile(_usage(root))
    found = file.sums(Question(by=("model",)))
    file.close()
    sums = {value for row in found.values() for value in row}
    if len(sums) > 1 or (found and len(found) != 3):
        yield f"an addition is there in part: {found}"
    total = int(sums.pop()) if sums else 0
    if doubtful != _ANYTHING and total < sum(n for n in _ADDED if f"add {n}" in answers):
        yield f"{total} is less than what was acknowledged"
    if total > 2 * sum(_ADDED):
        yield f"{total} is more than was ever added"


# Stored responses


def _responses(root: Path) -> Path:
    return root / "corral" / "responses.sqlite3"


def _opened(root: Path) -> ResponsesDB:
    return ResponsesDB(_responses(root), max_age_s=1 << 30, max_bytes=1 << 30)


def _response(name: str, previous: str = "") -> KeptResponse:
    text = f"text of {name} " * 200  # more than a page
    item = {"id": f"item-{name}", "type": "message", "text": text}
    return KeptResponse(name, previous, {"id": name, "text": text}, (item,), (item,))


def _save(name: str, previous: str = "") -> Step:
    def do(root: Path) -> bool:
        database = _opened(root)
        try:
            return database.save([_response(name, previous)], [previous] if previous else [])
        finally:
            database.close()

    return Step(f"save {name}", do)


def _forget(root: Path) -> None:
    database = _opened(root)
    try:
        database.delete("r1", "")
    finally:
        database.close()


def _verify_responses(root: Path, answers: Mapping[str, Any], doubtful: str) -> Iterator[str]:
    yield from _intact(_responses(root))
    if aside := [path.name for path in _responses(root).parent.glob("*.broken-*")]:
        yield f"the database was taken for broken: {aside}"
    database = _opened(root)
    for name in ("r1", "r2", "r3"):
        found = database.load(name, "")
        if found is not None and (found.body, found.output) != (_response(name).body, _response(name).output):
            yield f"{name} has another text"
        is_gone = name == "r1" and ("forget r1" in answers or doubtful == "forget r1")
        if f"save {name}" in answers and found is None and not is_gone:
            yield f"{name} is gone"
        if name == "r1" and "forget r1" in answers and found is not None:
            yield "r1 is there although it was deleted"
    database.close()


# The audit log


def _audit(root: Path) -> AuditLog:
    return AuditLog(root / "corral" / "audit", max_file_bytes=700)


def _act(number: int) -> Step:
    def do(root: Path) -> None:
        _audit(root).write(Act("local", "", f"act {number}", ("m",) * 8, "done"))

    return Step(f"act {number}", do)


_ACTS = (1, 2, 3, 4, 5)


def _verify_audit(root: Path, answers: Mapping[str, Any], doubtful: str) -> Iterator[str]:
    log = _audit(root)
    found = set()
    for path in log.files():
        for line in path.read_bytes().splitlines():
            with suppress(ValueError):
                found.add(json.loads(line)["act"])
    for number in _ACTS:
        if f"act {number}" in answers and f"act {number}" not in found:
            yield f"act {number} is not in the log"
    _, problems = check(log)
    # A line that a crash cut off stays, and says so; nothing else may be wrong.
    torn = [problem for problem in problems if problem.endswith("this line is not whole")]
    yield from (problem for problem in problems if problem not in torn)
    if len(torn) > 1:
        yield f"more than one line is torn: {torn}"


def _nothing(_root: Path) -> None:
    """There is nothing before."""


WORKLOADS: tuple[Workload, ...] = (
    Workload(
        "keys",
        _nothing,
        (
            _make_key("a"),
            _make_key("b"),
            Step("rotate a", _rotate),
            Step("revoke b", _revoke),
            _make_key("c"),
        ),
        lambda root: None,
        _verify_keys,
    ),
    Workload("keys-upgrade", _old_keys, (_make_key("c"),), lambda root: None, _verify_upgraded),
    Workload(
        "usage", _nothing, tuple(map(_add, _ADDED)), lambda root: None, _verify_usage, keeps_power=False
    ),
    Workload(
        "responses",
        _nothing,
        (_save("r1"), _save("r2", "r1"), Step("forget r1", _forget), _save("r3", "r2")),
        lambda root: _opened(root).close(),
        _verify_responses,
        keeps_power=False,
    ),
    Workload("audit", _nothing, tuple(map(_act, _ACTS)), lambda root: None, _verify_audit),
)
