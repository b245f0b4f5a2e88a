"""What `cluster start` and `cluster join` make of their words: the record of a node, the key, Ray's token."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from corral.cli.cluster import noderecord
from corral.cli.cluster.noderecord import record_of
from corral.cli.frame.commands import find_command
from corral.cli.frame.flags import UsageError, parse
from corral.cluster.ray.record import NodeRecord
from corral.cluster.ray.token import ray_token
from corral.config import Settings
from corral.errors import CorralError

KEY = "k" * 40


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "OLLAMA_HOST",
        "CORRAL_HOSTS",
        "CORRAL_API_KEY",
        "CORRAL_CLUSTER_NAME",
        "CORRAL_CLUSTER_KEY_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CORRAL_HOME", str(tmp_path))
    monkeypatch.setattr(noderecord, "offered", lambda: {"corral_ram_gb": 8.0})
    monkeypatch.setattr(noderecord, "choose_address", lambda *words, towards="": words[0] or "10.0.0.9")
    return tmp_path


def record(*words: str) -> NodeRecord:
    command = find_command("cluster")
    assert command is not None
    return record_of(parse(command, list(words)), Settings.load())


def put_key(home: Path) -> None:
    path = home / "cluster.key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)


def test_a_head_makes_the_key_and_the_token(home: Path) -> None:
    made = record("start", "--head", "--name", "box1")
    key = (home / "cluster.key").read_text().strip()
    assert (home / "ray.token").read_text() == ray_token(key)
    assert all((home / name).stat().st_mode & 0o777 == 0o600 for name in ("cluster.key", "ray.token"))
    assert made.is_head and made.head == "10.0.0.9:6379" and made.url == "http://10.0.0.9:11434"
    assert made.resources == {"corral_node:box1": 1.0, "corral_ram_gb": 8.0}
    assert record("start", "--head").head and (home / "cluster.key").read_text().strip() == key


@pytest.mark.parametrize(
    ("address", "head"),
    [
        ("10.0.0.1", "10.0.0.1:6379"),
        ("10.0.0.1:7000", "10.0.0.1:7000"),
        ("box1", "box1:6379"),
        ("fd00::1", "[fd00::1]:6379"),
        ("[fd00::1]", "[fd00::1]:6379"),
        ("[fd00::1]:7000", "[fd00::1]:7000"),
    ],
)
def test_who_joins_names_the_head(home: Path, address: str, head: str) -> None:
    put_key(home)
    made = record("join", address)
    assert made.head == head and not made.is_head and not made.is_guest


def test_who_joins_without_the_key_is_told_where_it_comes_from(home: Path) -> None:
    with pytest.raises(CorralError, match="does not exist") as caught:
        record("join", "10.0.0.1")
    assert "from the machine that started the cluster" in caught.value.hint
    assert not [*home.iterdir()], "nothing was made"


def test_a_key_that_others_can_read_is_refused(home: Path) -> None:
    put_key(home)
    (home / "cluster.key").chmod(0o640)
    with pytest.raises(CorralError, match="others may read"):
        record("join", "10.0.0.1")


def test_a_guest_brings_its_token(home: Path, tmp_path: Path) -> None:
    put_key(home)
    token = tmp_path / "theirs"
    token.write_text("t")
    token.chmod(0o600)
    made = record("join", "--ray-address", "auto", "--token-file", str(token))
    assert made.is_guest and made.head == "auto" and made.token_file == str(token)
    assert not (home / "ray.token").exists(), "their Ray, their token"
    assert record("start", "--ray-address", "auto", "--every-node").is_everywhere
    token.chmod(0o644)
    with pytest.raises(CorralError, match="others may read the token"):
        record("join", "--ray-address", "auto", "--token-file", str(token))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("start", "needs --head"),
        ("start --head --ray-address auto", "needs --head"),
        ("join", "needs the address"),
        ("join 10.0.0.1 --ray-address auto", "needs the address"),
        ("join 10.0.0.1 --head", "--head is for start"),
        ("start --head --every-node", "--every-node is for"),
        ("start --head --token-file x", "--token-file is for"),
    ],
)
def test_contradictions_are_refused(home: Path, words: str, reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        record(*words.split())
    assert not [*home.iterdir()]


@pytest.mark.parametrize("name", ["a/b", "a b", "", "-", "a" * 65, "ä"])
def test_bad_names_are_refused(home: Path, name: str) -> None:
    if name:
        with pytest.raises(CorralError, match="is not a name"):
            record("start", "--head", "--name", name)
        assert not [*home.iterdir()]
    else:
        assert record("start", "--head", "--name", name).name


def test_bad_ports_are_refused_before_anything_is_made(home: Path) -> None:
    with pytest.raises(CorralError, match="contain 11434"):
        record("start", "--head", "--ports", "11400-11500")
    assert not [*home.iterdir()]


@pytest.mark.parametrize(
    ("host", "address", "url", "hosts"),
    [
        ("", "10.0.0.9", "http://10.0.0.9:11434", "127.0.0.1:11434"),
        ("127.0.0.1:9000", "10.0.0.9", "http://10.0.0.9:9000", "127.0.0.1:9000"),
        ("10.0.0.7:9000", "10.0.0.7", "http://10.0.0.7:9000", "127.0.0.1:9000"),
        ("0.0.0.0:9000", "10.0.0.9", "http://10.0.0.9:9000", None),
        (":9000", "10.0.0.9", "http://10.0.0.9:9000", None),
    ],
)
def test_the_server_is_reached_by_the_others_and_by_this_machine(
    monkeypatch: pytest.MonkeyPatch, host: str, address: str, url: str, hosts: str | None
) -> None:
    if host:
        monkeypatch.setenv("OLLAMA_HOST", host)
    made = record("start", "--head")
    variables = made.server_variables()
    assert (made.address, made.url) == (address, url) and variables.get("CORRAL_HOSTS") == hosts
    assert variables["OLLAMA_HOST"] == (host if hosts is None else url.removeprefix("http://"))


def test_addresses_of_the_configuration_file_hold(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "config.toml").write_text(
        '[server]\nhost = "0.0.0.0:9000"\nhosts = ["unix:///run/corral.sock"]\n'
    )
    monkeypatch.setenv("CORRAL_CONFIG", str(home / "config.toml"))
    variables = record("start", "--head").server_variables()
    assert (variables["OLLAMA_HOST"], variables["CORRAL_HOSTS"]) == (
        "0.0.0.0:9000",
        "unix:///run/corral.sock",
    )


@pytest.mark.parametrize("host", ["unix:///run/corral.sock", "10.0.0.1:0"])
def test_a_server_that_the_others_cannot_find_is_refused(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    with pytest.raises(CorralError, match="need an address and a port"):
        record("start", "--head")


def test_settings_go_to_the_server_and_the_clients_own_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", "/models")
    monkeypatch.setenv("CORRAL_API_KEY", "secret of the client")
    monkeypatch.setenv("CORRAL_TLS_SELF_SIGNED", "1")
    monkeypatch.setenv("CORRAL_HOSTS", "unix:///run/corral.sock")
    made = record("start", "--head")
    variables = made.server_variables()
    assert made.scheme == "https" and variables["OLLAMA_MODELS"] == "/models"
    assert variables["CORRAL_HOSTS"] == "unix:///run/corral.sock,127.0.0.1:11434"
    assert "CORRAL_API_KEY" not in variables and variables["CORRAL_CLUSTER_MODE"] == "ray"
