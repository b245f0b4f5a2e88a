"""Keys on the disk and in memory, beside the usual course: files that are gone, broken, foreign or too open."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corral.access import keyring, keystore
from corral.access.clusterkey import ClusterKey, ClusterKeyError, read_cluster_key, write_cluster_key
from corral.access.keyring import Keyring
from corral.access.keys import Key, KeyOrder, describe, read_order
from corral.access.keystore import KeyNotFoundError, KeyStore, default_database
from corral.access.secret import is_id, is_whole, new_id
from corral.caller import CLUSTER_SCOPES, Limits
from corral.database import DatabaseError, open_database
from corral.errors import CorralError, InvalidRequestError
from corral.logs import Sparing

SECOND_NS = 1_000_000_000
TEXT = "x" * 40


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "home" / "keys.sqlite3", clock_ns=lambda: 5 * SECOND_NS)


@pytest.fixture(autouse=True)
def all_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there were in this minute."""
    monkeypatch.setattr(keyring, "_problems", Sparing(keyring._log, lines_per_minute=1000))


# --- a key as a value --------------------------------------------------------------------------------------


def test_ids() -> None:
    assert is_id(new_id()) and is_id("abc12345")
    assert not any(map(is_id, ("", "abc1234", "abc123456", "ABC12345", "abc 1234")))


def test_what_is_shown_of_a_key() -> None:
    """Only what it has, and never its digest."""
    key = Key("abcdefgh", "a", b"d" * 32, ("infer",), None, SECOND_NS)
    assert describe(key, SECOND_NS) == {
        "id": "abcdefgh",
        "name": "a",
        "status": "active",
        "scopes": ["infer"],
        "models": None,
        "created_at": describe(key, 0)["created_at"],
        "priority": "normal",
    }
    full = replace(
        key,
        models=("m*",),
        expires_ns=4 * SECOND_NS,
        disabled_ns=5 * SECOND_NS,
        old_until_ns=3 * SECOND_NS,
        note="n",
        rpm=1,
        max_predict=2,
        priority="batch",
    )
    shown = describe(full, 2 * SECOND_NS)
    assert list(shown) == (
        "id name status scopes models created_at expires_at revoked_at previous_valid_until priority rpm"
        " max_predict note".split()
    )
    assert (shown["models"], shown["rpm"], shown["max_predict"], shown["note"]) == (["m*"], 1, 2, "n")
    assert (shown["status"], shown["priority"]) == ("revoked", "batch")
    times = [shown[name] for name in ("created_at", "previous_valid_until", "expires_at", "revoked_at")]
    assert times == sorted(times) and len(set(times)) == 4
    assert "previous_valid_until" not in describe(full, 3 * SECOND_NS)


@pytest.mark.parametrize(
    ("expires_ns", "disabled_ns", "now_ns", "status"),
    [
        (0, 0, 99, "active"),
        (5, 0, 4, "active"),
        (5, 0, 5, "expired"),
        (5, 0, 6, "expired"),
        (5, 3, 4, "revoked"),
        (5, 3, 6, "revoked"),
    ],
)
def test_the_state_of_a_key(expires_ns: int, disabled_ns: int, now_ns: int, status: str) -> None:
    assert Key("a", "a", b"", (), None, 1, expires_ns, disabled_ns).status(now_ns) == status


def test_who_has_a_key() -> None:
    key = Key("a", "name", b"", ("manage",), ("m",), 1, rpm=3, priority="batch")
    who = key.caller("10.0.0.1")
    assert (who.key_id, who.name, who.models, who.address) == ("a", "name", ("m",), "10.0.0.1")
    assert (who.scopes, who.limits, who.priority, who.share) == (
        frozenset({"manage", "read"}),
        Limits(rpm=3),
        "batch",
        "key a",
    )


@pytest.mark.parametrize("name", ["rpm", "tpm", "tokens_per_day", "max_parallel", "max_predict"])
def test_limits_of_a_new_key(name: str) -> None:
    for value in (0, 1, 10**12):
        assert getattr(read_order({"name": "a", name: value}).limits, name) == value
    for value in (-1, 10**12 + 1):
        with pytest.raises(InvalidRequestError, match=f"{name} is a number from 0"):
            read_order({"name": "a", name: value})


# --- the database ------------------------------------------------------------------------------------------


def test_where_keys_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CORRAL_HOME", str(tmp_path))
    assert default_database() == tmp_path / "corral.sqlite3"


def test_a_database_that_does_not_obey(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLite says becomes an error that names the file."""

    def fail(_connection: sqlite3.Connection) -> list[Key]:
        raise sqlite3.OperationalError("disk I/O error")

    store.create(KeyOrder("a"))
    monkeypatch.setattr(keystore, "read_keys", fail)
    with pytest.raises(DatabaseError, match=r"keys\.sqlite3 cannot be used: disk i/o error"):
        store.all_keys()


def test_revoking_twice(store: KeyStore) -> None:
    """The first time counts, and the old text of a rotated key ends with it."""
    store.create(KeyOrder("a"))
    store.rotate("a")
    first = store.revoke("a")
    assert (first.disabled_ns, first.old_digest, first.old_until_ns) == (5 * SECOND_NS, b"", 0)
    later = KeyStore(store.path, clock_ns=lambda: 9 * SECOND_NS)
    assert later.revoke("a") == first == later.find("a")


def test_a_key_that_nobody_made(store: KeyStore) -> None:
    for change in (store.revoke, store.rotate):
        with pytest.raises(KeyNotFoundError, match="there is no API key 'a'"):
            change("a")
    assert not store.path.parent.exists()
    store.create(KeyOrder("b"))
    with pytest.raises(KeyNotFoundError, match="there is no API key 'a'"):
        store.find("a")


def test_a_key_is_what_was_ordered(store: KeyStore) -> None:
    order = KeyOrder("a", ("read",), ("m",), 7, "note", Limits(1, 2, 3, 4, 5), "batch")
    key, text = store.create(order)
    assert is_whole(text) and store.all_keys() == [key]
    assert key == Key(
        key.id, "a", key.digest, ("read",), ("m",), 5 * SECOND_NS, 5 * SECOND_NS + 7, 0, "note",
        b"", 0, 1, 2, 3, 4, 5, "batch",
    )  # fmt: skip


def test_an_id_is_not_given_twice(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["aaaaaaaa", "aaaaaaaa", "bbbbbbbb"])
    monkeypatch.setattr(keystore, "new_id", lambda: next(ids))
    assert [store.create(KeyOrder("a"))[0].id for _ in range(2)] == ["aaaaaaaa", "bbbbbbbb"]


def test_ids_come_before_names(store: KeyStore) -> None:
    key, _ = store.create(KeyOrder("a"))
    store.create(KeyOrder(key.id))
    assert store.find(key.id) == key


# --- the keys in memory ------------------------------------------------------------------------------------


def test_names_of_all_keys(store: KeyStore) -> None:
    """Of revoked ones too, and of those that came a moment ago; before there is a file there are none."""
    ring = Keyring(store.path)
    ring.load()
    assert ring.names() == {}
    one, _ = store.create(KeyOrder("one"))
    store.revoke("one")
    assert ring.names() == {one.id: "one"}
    two, _ = store.create(KeyOrder("two"))
    assert ring.names() == {one.id: "one", two.id: "two"}
    ring.close()


def test_a_caller_is_made_once(store: KeyStore) -> None:
    key, _ = store.create(KeyOrder("a"))
    ring = Keyring(store.path)
    assert ring.caller(key, "10.0.0.1") is ring.caller(key, "10.0.0.1")
    ring.close()


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("database is locked"), sqlite3.DatabaseError("no")]
)
def test_keys_hold_on_when_sqlite_fails(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """And it is asked again by the next request."""
    _, text = store.create(KeyOrder("a"))
    ring = Keyring(store.path, look_s=3600)
    assert ring.find(text, 0) is not None
    real = Keyring._data_version

    def fail(self: Keyring) -> int:
        raise error

    store.revoke("a")
    monkeypatch.setattr(Keyring, "_data_version", fail)
    found = ring.find(text, 0)
    assert found is not None and found.status(0) == "active"
    assert f"keys stay as they were: {error}" in caplog.text
    monkeypatch.setattr(Keyring, "_data_version", real)
    found = ring.find(text, 0)
    assert found is not None and found.status(0) == "revoked"
    ring.close()


def test_keys_hold_on_when_the_folder_cannot_be_read(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, text = store.create(KeyOrder("a"))
    ring = Keyring(store.path, look_s=0)
    ring.load()

    def stat(self: Path, **_options: Any) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", stat)
    assert ring.find(text, 0) is not None
    assert "cannot be read, keys stay as they were" in caplog.text
    ring.close()


def test_the_log_says_that_keys_are_gone(store: KeyStore, caplog: pytest.LogCaptureFixture) -> None:
    """Only where there were some."""
    ring = Keyring(store.path, look_s=0)
    assert not ring.has_keys and caplog.text == ""
    store.create(KeyOrder("a"))
    assert ring.has_keys
    store.path.unlink()
    assert ring.has_keys
    assert f"{store.path} is gone; the keys that were in it hold on" in caplog.text
    ring.close()


def test_a_file_is_opened_again_only_where_it_is_another_one(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    real = open_database

    def count(path: Path, *arguments: Any, **options: Any) -> sqlite3.Connection:
        opened.append(path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(keyring, "open_database", count)
    store.create(KeyOrder("a"))
    ring = Keyring(store.path, look_s=0)
    for _ in range(3):
        assert ring.has_keys
    assert opened == [store.path]
    ring.close()
    ring.close()
    assert ring.has_keys and opened == [store.path] * 2
    ring.close()


def test_a_server_whose_keys_were_deleted_is_not_open(store: KeyStore) -> None:
    store.create(KeyOrder("a"))
    ring = Keyring(store.path, look_s=0)
    assert ring.has_keys
    with closing(sqlite3.connect(store.path)) as other, other:
        other.execute("DELETE FROM keys")
    assert ring.has_keys and ring.names() == {}
    ring.close()


# --- the key of a cluster ----------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "cluster.key"


def put(file: Path, data: bytes, mode: int = 0o600) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)
    file.chmod(mode)
    return file


def test_a_key_of_a_cluster_is_made_once(file: Path) -> None:
    """Whole as any other key, for its owner alone; nothing is overwritten."""
    text = write_cluster_key(file)
    assert is_whole(text) and file.read_text() == f"{text}\n"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert read_cluster_key(file) == ClusterKey(text)
    with pytest.raises(ClusterKeyError, match="exists already") as caught:
        write_cluster_key(file)
    assert "remove it on all servers" in caught.value.hint
    assert file.read_text() == f"{text}\n"


def test_a_key_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ClusterKeyError, match="file/x/key: not a directory"):
        write_cluster_key(tmp_path / "file" / "x" / "key")


def test_what_is_shown_to_whom(file: Path) -> None:
    """Single servers may have keys of their own; comments and empty lines mean nothing."""
    data = f"\n# our key\n  {TEXT}  \n\nhttp://10.0.0.2:11434 {'y' * 32}\nhttp://10.0.0.3  {'z' * 512}\n"
    key = read_cluster_key(put(file, data.encode()))
    assert (key.text, len(key.by_url)) == (TEXT, 2)
    assert key.text_for("http://10.0.0.2:11434") == "y" * 32
    assert set(key.by_url.values()) == {"y" * 32, "z" * 512}
    assert key.text_for("http://10.0.0.9:11434") == TEXT
    assert key.matches(TEXT) and not key.matches("y" * 32) and not key.matches("")
    assert TEXT not in repr(key) and "yyyy" not in repr(key)


def test_who_shows_it() -> None:
    who = ClusterKey(TEXT).caller("10.0.0.2")
    assert (who.key_id, who.name, who.share, who.address, who.scopes) == (
        "cluster",
        "cluster",
        "cluster",
        "10.0.0.2",
        CLUSTER_SCOPES,
    )
    assert who.models is None and who.gateway == ""


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "does not hold a cluster key"),
        (b"\n# a comment\n", "does not hold a cluster key"),
        (TEXT.encode() + b"\xe9", "does not hold a cluster key"),
        (TEXT.encode() + b"\n" * (1 << 20), "does not hold a cluster key"),
        (b"x" * 31, "a cluster key has 32 to 512 characters"),
        (b"x" * 513, "a cluster key has 32 to 512 characters"),
        (b"x" * 20 + b" " + b"x" * 20, "a cluster key has 32 to 512 characters"),
        (b"x" * 32 + b"\x07", "a cluster key has 32 to 512 characters"),
        (TEXT.encode() + b"\nhttp://10.0.0.2 short", "a cluster key has 32 to 512 characters"),
    ],
)
def test_files_that_hold_no_key(file: Path, data: bytes, problem: str) -> None:
    with pytest.raises(ClusterKeyError, match=problem) as caught:
        read_cluster_key(put(file, data))
    assert str(file) in str(caught.value) and "corral cluster key" in caught.value.hint


def test_the_largest_file(file: Path) -> None:
    assert read_cluster_key(put(file, TEXT.encode() + b"\n" * ((1 << 20) - 40))).text == TEXT


@pytest.mark.parametrize("text", ["x" * 32, "x" * 512])
def test_the_length_of_a_key(file: Path, text: str) -> None:
    assert read_cluster_key(put(file, text.encode())).text == text


def test_an_address_that_is_none(file: Path) -> None:
    with pytest.raises(CorralError, match=r"cluster\.key"):
        read_cluster_key(put(file, f"{TEXT}\nnot/an/address {TEXT}".encode()))


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601])
def test_others_must_not_read_the_key(file: Path, mode: int) -> None:
    with pytest.raises(ClusterKeyError, match="others may read or change") as caught:
        read_cluster_key(put(file, TEXT.encode(), mode))
    assert caught.value.hint == f"chmod 600 {file}"


def test_files_that_are_not_there(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ClusterKeyError, match="does not exist") as caught:
        read_cluster_key(file)
    assert "corral cluster key" in caught.value.hint
    with pytest.raises(ClusterKeyError, match="is a directory"):
        read_cluster_key(tmp_path)
