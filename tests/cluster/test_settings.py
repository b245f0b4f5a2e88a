"""Settings of the cluster: what decides whom a server trusts is not guessed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from corral.access.clusterkey import ClusterKeyError, read_cluster_key, write_cluster_key
from corral.cluster.membership import DnsMembers, Member
from corral.config import Settings
from corral.errors import CorralError


def test_addresses_are_made_alike() -> None:
    settings = Settings.from_env(
        {
            "CORRAL_CLUSTER_MODE": "Peers",
            "CORRAL_CLUSTER_PEERS": "https://A.lan, 10.0.0.2:1234,http://[fd00::2]:99/, https://a.lan:11434",
            "CORRAL_CLUSTER_RETRIES": "1",
            "CORRAL_CLUSTER_AFFINITY": "0.5",
        }
    )
    assert settings.cluster_mode == "peers"
    assert settings.cluster_peers == ("https://a.lan:11434", "http://10.0.0.2:1234", "http://[fd00::2]:99")
    assert (settings.cluster_retries, settings.cluster_affinity, settings.warnings) == (1, 0.5, ())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CORRAL_CLUSTER_MODE", "peer"),
        *(
            ("CORRAL_CLUSTER_PEERS", text)
            for text in (
                "http://u:secret@a:1",
                "ftp://a",
                "http://a/path",
                "http://a?x",
                "http://a:0",
                "http://a:65536",
                "http://",
                "a b",
                "http://a:1#f",
                "http://-a",
                "a\nb",
            )
        ),
        ("CORRAL_CLUSTER_DNS", "https://corral/x"),
        ("CORRAL_CLUSTER_NAME", "a b"),
        ("CORRAL_CLUSTER_NAME", "x" * 65),
    ],
)
def test_wrong_values_end_the_start(name: str, text: str) -> None:
    with pytest.raises(CorralError, match=name) as caught:
        Settings.from_env({name: text})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CORRAL_CLUSTER_AFFINITY", "1.5"),
        ("CORRAL_CLUSTER_AFFINITY", "nan"),
        ("CORRAL_CLUSTER_IMBALANCE_REL", "0.5"),
        ("CORRAL_CLUSTER_RETRIES", "3"),
        ("CORRAL_CLUSTER_BLOCK_CHARS", "0"),
    ],
)
def test_other_wrong_values_are_told(name: str, text: str) -> None:
    (warning,) = Settings.from_env({name: text}).warnings
    assert name in warning and "is invalid" in warning


def test_the_key_file(tmp_path: Path) -> None:
    """It is made once, for its owner alone; text and other texts are told apart."""
    path = tmp_path / "home" / "cluster.key"
    text = write_cluster_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    key = read_cluster_key(path)
    assert key.matches(text) and not key.matches(text[:-1]) and not key.matches("")
    assert text not in repr(key)
    with pytest.raises(ClusterKeyError, match="exists already"):
        write_cluster_key(path)
    assert path.read_text() == text + "\n"


def test_keys_of_single_servers(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(f"# ours\n{'a' * 40}\nhttp://B:1 {'b' * 40}\n")
    key = read_cluster_key(path)
    assert (key.text_for("http://a:1"), key.text_for("http://b:1")) == ("a" * 40, "b" * 40)
    assert not key.matches("b" * 40)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_may_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    write_cluster_key(path)
    os.chmod(path, mode)
    with pytest.raises(ClusterKeyError, match="others may read or change"):
        read_cluster_key(path)


@pytest.mark.parametrize("text", ["", "\n", "short", "x" * 600, "a" * 40 + " b", "ä" * 40, "# " + "a" * 40])
def test_files_that_hold_no_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(ClusterKeyError) as caught:
        read_cluster_key(path)
    assert "cluster key" in str(caught.value)


def test_no_key_file(tmp_path: Path) -> None:
    with pytest.raises(ClusterKeyError, match="does not exist") as caught:
        read_cluster_key(tmp_path / "key")
    assert "corral cluster key" in caught.value.hint


def test_members_of_a_name() -> None:
    """Each address is one; a name server that is away, or says nothing, takes none away."""
    asyncio.run(_look_up())


async def _look_up() -> None:
    answers: list[list[str] | None] = [["10.0.0.2", "fd00::1", "10.0.0.2"], None, [], ["10.0.0.3"]]

    async def resolve(host: str) -> list[str]:
        assert host == "corral.lan"
        if (answer := answers.pop(0)) is None:
            raise OSError
        return answer

    members = DnsMembers("https://corral.lan:11434", resolve, look_s=0)
    assert members.nodes() == {}
    async with asyncio.timeout(30):
        await members.changed()
        assert members.nodes() == {
            "https://10.0.0.2:11434": Member("https://10.0.0.2:11434", "corral.lan"),
            "https://[fd00::1]:11434": Member("https://[fd00::1]:11434", "corral.lan"),
        }
        await members.changed()
    assert list(members.nodes()) == ["https://10.0.0.3:11434"]
