"""Keys as values and in their database: texts, patterns, what is stored, and who sees a change."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.access import keyring, keystore
from corral.access.database import KEYS
from corral.access.keyring import Keyring
from corral.access.keys import KeyOrder, describe, lifetime_ns, read_order
from corral.access.keystore import KeyNotFoundError, KeyStore
from corral.access.secret import is_whole, new_id, new_secret
from corral.caller import SCOPES, Caller, with_implied
from corral.database import DatabaseError, filesystem_of, open_database
from corral.errors import InvalidRequestError
from corral.modelglobs import check_glob
from corral.names import ModelName

SECOND_NS = 1_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "home" / "keys.sqlite3")


@given(st.data())
def test_one_wrong_character_shows(data: st.DataObject) -> None:
    text = new_secret(new_id())
    assert len(text) == 3 + 8 + 1 + 43
    assert is_whole(text)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda letter: letter != text[place]))
    assert not is_whole(text[:place] + other + text[place + 1 :])


@pytest.mark.parametrize(
    ("pattern", "allowed", "refused"),
    [
        ("*", "a team/b hf.co/x/y:q4 other.example:5000/a/b", ""),
        (
            "say",
            "say say:latest say:v2 SAY library/say registry.ollama.ai/library/say",
            "say2 team/say hf.co/library/say",
        ),
        ("say:v1", "say:v1 Say:V1", "say say:v2"),
        ("say*", "say say-2:x", "ssay team/say say.example.com/x/say"),
        ("team/*", "team/a team/b:1", "a other/a team.example/a/b"),
        ("hf.co/*", "hf.co/someone/a:q4", "hf.co.evil.com/someone/a someone/a"),
        ("hf.co/[ab]*/*", "hf.co/alice/x hf.co/bob/y", "hf.co/carol/z"),
        ("localhost:5000/*", "localhost:5000/a/b", "a localhost:5001/a/b"),
        ("qwen?", "qwen3", "qwen qwen25"),
    ],
)
def test_patterns(pattern: str, allowed: str, refused: str) -> None:
    caller = Caller(models=(check_glob(pattern),))
    for text in allowed.split():
        assert caller.may_use(ModelName.parse(text)), text
    for text in refused.split():
        assert not caller.may_use(ModelName.parse(text)), text


@pytest.mark.parametrize("pattern", ["", "a b", "a:", ":x", "/a", "a/", "a//b", "a/b/c/d", "é", "x" * 201])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(InvalidRequestError):
        check_glob(pattern)


@given(st.text(max_size=30), st.from_regex(r"[a-z0-9_][a-z0-9_.-]{0,9}", fullmatch=True))
def test_any_pattern_is_refused_or_harmless(pattern: str, model: str) -> None:
    try:
        caller = Caller(models=(check_glob(pattern),))
    except InvalidRequestError:
        return
    caller.may_use(ModelName.parse(model))


def test_scopes_that_come_with_others() -> None:
    assert with_implied(frozenset({"infer"})) == {"infer"}
    assert with_implied(frozenset({"manage"})) == {"manage", "read"}
    assert with_implied(frozenset({"registry:push"})) == {"registry:pull", "registry:push"}
    assert with_implied(frozenset({"cluster"})) == {"cluster", "infer", "read", "manage", "registry:pull"}
    assert with_implied(frozenset({"admin"})) == set(SCOPES)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"name": "  "},
        {"name": "a\nb"},
        {"name": "x" * 201},
        {"name": "a", "scopes": ["root"]},
        {"name": "a", "models": ["a b"]},
        {"name": "a", "models": ["a"] * 5 + [f"m{i}" for i in range(101)]},
        {"name": "a", "scopes": ["admin"], "models": ["say"]},
        {"name": "a", "scopes": ["cluster"], "models": ["say"]},
        {"name": "a", "expires": "soon"},
        {"name": "a", "expires": "-1h"},
        {"name": "a", "expires": "0"},
        {"name": "a", "expires": "999999w"},
        {"name": "a", "note": "\x1b[2J"},
    ],
)
def test_orders_that_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError):
        read_order(values)


def test_orders() -> None:
    order = read_order({"name": " a ", "scopes": ["read", "infer", "read"], "models": ["*"], "expires": "2w"})
    assert order == KeyOrder("a", ("infer", "read"), ("*",), 14 * 86400 * SECOND_NS)
    assert read_order({"name": "a"}) == KeyOrder("a")
    assert [lifetime_ns(text) // SECOND_NS for text in ("1d", "90m", "1h30m")] == [86400, 5400, 5400]


def test_nothing_of_a_text_is_stored(store: KeyStore) -> None:
    key, text = store.create(KeyOrder("a", ("infer",), ("say*",), SECOND_NS, "a note"))
    store.rotate("a")
    files = list(store.path.parent.iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert not any(text[12:].encode() in file.read_bytes() for file in files)
    assert store.find(key.id).models == store.find("a").models == ("say*",)
    assert text not in repr(describe(store.find("a"), 0))


def test_the_tables_are_strict_and_numbered(store: KeyStore) -> None:
    store.create(KeyOrder("a"))
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(KEYS.migrations)
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        strict = connection.execute("SELECT strict FROM pragma_table_list WHERE name = 'keys'").fetchone()
        assert strict == (1,)
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DatabaseError, match="later version"):
        store.all_keys()


def test_keys_of_earlier_versions_are_read(store: KeyStore) -> None:
    """Each schema is brought up to the newest one; keys without a class are of the usual one."""
    store.path.parent.mkdir()
    with closing(open_database(store.path, replace(KEYS, migrations=KEYS.migrations[:1]))) as connection:
        row = ("abcdefgh", "old", b"x", '["infer"]', 1)
        connection.execute(
            "INSERT INTO keys (id, name, digest, scopes, created_ns) VALUES (?, ?, ?, ?, ?)", row
        )
    [key] = store.all_keys()
    assert (key.name, key.scopes, key.rpm, key.priority) == ("old", ("infer",), 0, "normal")
    made, _ = store.create(KeyOrder("new", priority="batch"))
    assert store.find(made.id).priority == "batch"
    with closing(sqlite3.connect(store.path)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE keys SET priority = 'high'")


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"not a database at all" * 100)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    for path in (broken, link, tmp_path):
        with pytest.raises(DatabaseError, match="cannot be used"):
            open_database(path, KEYS)
    assert broken.read_bytes().startswith(b"not a database")
    with pytest.raises(DatabaseError, match="network file system"):
        open_database(tmp_path / "x", KEYS, network=frozenset({filesystem_of(tmp_path)}))
    assert not (tmp_path / "x").exists()


def test_the_kind_of_a_file_system(tmp_path: Path) -> None:
    folder = tmp_path / "a share" / "home"
    folder.mkdir(parents=True)
    mounts = tmp_path / "mountinfo"
    where = str(tmp_path / "a share").replace(" ", "\\040")
    mounts.write_text(
        f"1 1 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:1 / {where} rw shared:1 - nfs4 host:/x rw\nodd\n"
    )
    assert filesystem_of(folder, mounts) == "nfs4"
    assert filesystem_of(tmp_path, mounts) == "ext4"
    assert filesystem_of(tmp_path, tmp_path / "none") == ""


def test_names_and_ids(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyNotFoundError):
        store.revoke("a")
    assert store.all_keys() == [] and not store.path.exists()
    one, _ = store.create(KeyOrder("a"))
    two, _ = store.create(KeyOrder("a"))
    with pytest.raises(InvalidRequestError, match="several"):
        store.find("a")
    assert store.revoke(one.id).disabled_ns
    assert store.find("a") == two  # the one in use
    with pytest.raises(InvalidRequestError, match="revoked"):
        store.rotate(one.id)
    monkeypatch.setattr(keystore, "MAX_KEYS", 2)
    with pytest.raises(InvalidRequestError, match="already"):
        store.create(KeyOrder("b"))


def test_rotation_and_its_grace(store: KeyStore) -> None:
    ring = Keyring(store.path)
    key, old = store.create(KeyOrder("a"))
    _, new = store.rotate("a", 10 * SECOND_NS)
    now_ns = time.time_ns()
    assert {ring.find(text, now_ns).id for text in (old, new)} == {key.id}  # type: ignore[union-attr]
    assert ring.find(old, now_ns + 11 * SECOND_NS) is None
    _, newest = store.rotate("a", 0)
    assert [ring.find(text, now_ns) is not None for text in (old, new, newest)] == [False, False, True]
    ring.close()


def test_callers_are_those_of_the_keys_of_now(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_MAX_CALLERS", 2)
    key, text = store.create(KeyOrder("a", scopes=("read",)))
    ring = Keyring(store.path)
    found = ring.find(text, 0)
    assert found is not None
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"):
        who = ring.caller(found, address)
        assert (who.key_id, who.address, who.scopes) == (key.id, address, frozenset({"read"}))
    with closing(sqlite3.connect(store.path)) as other, other:
        other.execute("""UPDATE keys SET scopes = '["infer"]', rpm = 7""")
    found = ring.find(text, 0)
    assert found is not None
    who = ring.caller(found, "10.0.0.1")
    assert (who.scopes, who.limits.rpm) == (frozenset({"infer"}), 7)
    ring.close()


def test_an_expired_key_does_not_come_back_by_rotation(store: KeyStore) -> None:
    late = KeyStore(store.path, clock_ns=lambda: 10 * SECOND_NS)
    early = KeyStore(store.path, clock_ns=lambda: SECOND_NS)
    key, old = early.create(KeyOrder("a", lifetime_ns=SECOND_NS))
    late.rotate("a")
    ring = Keyring(store.path)
    assert ring.find(old, 10 * SECOND_NS) is None
    assert late.find(key.id).status(10 * SECOND_NS) == "expired"
    ring.close()


def _revoke(path: Path, name: str) -> None:
    KeyStore(path).revoke(name)


def _create(path: Path, name: str) -> None:
    KeyStore(path).create(KeyOrder(name))


@pytest.mark.process
def test_changes_are_seen_at_once(store: KeyStore) -> None:
    """Those of other processes too, and none needs a new look at the file by hand."""
    ring = Keyring(store.path)
    ring.load()
    assert not ring.has_keys
    _, text = store.create(KeyOrder("a"))
    assert ring.has_keys
    found = ring.find(text, 0)
    assert found is not None and found.status(0) == "active"
    other = multiprocessing.get_context("spawn").Process(target=_revoke, args=(store.path, "a"))
    other.start()
    other.join()
    found = ring.find(text, 0)
    assert found is not None and found.status(0) == "revoked"
    ring.close()


def test_sqlite_is_asked_only_after_a_write(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    _, text = store.create(KeyOrder("a"))
    later_ns = time.time_ns() + 60 * SECOND_NS
    monkeypatch.setattr(time, "time_ns", lambda: later_ns)
    asked = 0

    def data_version(self: Keyring, real: Callable[[Keyring], int] = Keyring._data_version) -> int:
        nonlocal asked
        asked += 1
        return real(self)

    monkeypatch.setattr(Keyring, "_data_version", data_version)
    ring = Keyring(store.path, look_s=3600)
    ring.find(text, 0)
    before = asked
    for _ in range(3):
        ring.find(text, 0)
    assert asked == before
    store.revoke("a")
    found = ring.find(text, 0)
    assert found is not None and found.status(0) == "revoked"
    ring.close()


def test_two_changes_at_the_same_time_are_both_seen(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of a file system may stand for two seconds, and the log may have the same size again."""
    log, written_ns = Path(f"{store.path}-wal"), 1_000 * SECOND_NS
    monkeypatch.setattr(time, "time_ns", lambda: written_ns + SECOND_NS)
    _, text = store.create(KeyOrder("a"))
    ring = Keyring(store.path, look_s=3600)
    ring.load()
    sizes = set()
    for rpm in (1, 2):
        with closing(sqlite3.connect(store.path)) as other, other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            other.execute("UPDATE keys SET rpm = ?", (rpm,))
        os.utime(log, ns=(written_ns, written_ns))
        sizes.add(log.stat().st_size)
        found = ring.find(text, 0)
        assert found is not None and found.limits.rpm == rpm
    assert len(sizes) == 1
    ring.close()


@pytest.mark.process
def test_a_look_at_the_file_does_not_release_its_locks(store: KeyStore) -> None:
    """Another process would take itself for the last user and remove the log, and changes would not be seen."""
    store.create(KeyOrder("a"))
    ring = Keyring(store.path)
    ring.load()
    for name in ("b", "c", "d"):
        assert store.all_keys()  # in this process, as a request for the list
        other = multiprocessing.get_context("spawn").Process(target=_create, args=(store.path, name))
        other.start()
        other.join()
        store.all_keys()
        text = store.rotate(name, 0)[1]
        assert ring.find(text, 0) is not None
    ring.close()


def test_keys_hold_on_when_the_file_goes(store: KeyStore) -> None:
    """A server that asked for keys does not become open because its file was lost or broken."""
    _, text = store.create(KeyOrder("a"))
    ring = Keyring(store.path, look_s=0)
    assert ring.find(text, 0) is not None
    for file in store.path.parent.iterdir():
        file.unlink()
    assert ring.has_keys and ring.find(text, 0) is not None
    store.path.write_bytes(b"broken" * 200)
    assert ring.has_keys and ring.find(text, 0) is not None
    store.path.unlink()
    store.create(KeyOrder("b"))  # another file in its place
    assert ring.has_keys and ring.find(text, 0) is None
    ring.close()
