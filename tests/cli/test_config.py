"""`corral config` as it is typed, and a server that is started with a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Server

pytestmark = pytest.mark.process


def corral(home: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "CORRAL_"))}
    return subprocess.run(
        [sys.executable, "-m", "corral.cli.main", *words],
        env={**clean, "HOME": str(home), "CORRAL_HOME": str(home), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_show_path_check_and_schema(tmp_path: Path) -> None:
    """Each with a file that is valid."""
    file = tmp_path / "config.toml"
    file.write_text("[limits]\nmax_queue = 7\n")
    shown = corral(
        tmp_path, "config", "show", "--origin", "--host", "127.0.0.1:1", OLLAMA_KEEP_ALIVE="1h"
    ).stdout
    assert f"\nmax_queue = 7  # {file}:2\n" in shown
    assert '\nkeep_alive = "1h"  # environment OLLAMA_KEEP_ALIVE\n' in shown
    assert 'host = "127.0.0.1:1"  # flag --host' in shown
    assert "\n# max_connections = 0  # default\n" in shown
    data = json.loads(corral(tmp_path, "config", "show", "--json").stdout)
    assert data["settings"]["limits.max_queue"] == {
        "value": 7,
        "origin": f"{file}:2",
        "variable": "OLLAMA_MAX_QUEUE",
    }
    paths = corral(tmp_path, "config", "path").stdout.splitlines()
    assert paths[0].startswith("/etc/corral/config.toml") and paths[1] == str(file)
    checked = corral(tmp_path, "config", "check")
    assert (checked.returncode, checked.stdout) == (0, f"{file}: valid\n")
    assert json.loads(corral(tmp_path, "config", "schema").stdout)["type"] == "object"


_ADDRESSES = {
    "CORRAL_ENGINE_INDEX": "https://me:pass-word@mirror/simple",
    "CORRAL_DEFAULT_REGISTRY": "https://pass-word@registry",
    "CORRAL_REGISTRY_MIRRORS": "https://one, hf.co=https://me:pass-word@two",
    "OLLAMA_CLOUD_BASE_URL": "https://me:pass-word@account",
}


def test_passwords_in_addresses_are_not_shown(tmp_path: Path) -> None:
    """Whichever setting they are in, and whether it comes from a variable or a file."""
    for words in (["show"], ["show", "--origin"], ["show", "--json"]):
        shown = corral(tmp_path, "config", *words, **_ADDRESSES).stdout
        assert "pass-word" not in shown and shown.count("***@") == len(_ADDRESSES)
    lines = corral(tmp_path, "config", "show", **_ADDRESSES).stdout.splitlines()
    # What is not whole cannot be taken for a file to use.
    assert '# index = "https://***@mirror/simple"' in lines
    assert '# mirrors = ["https://one", "hf.co=https://***@two"]' in lines
    (tmp_path / "config.toml").write_text('[engine]\nindex = "https://me:pass-word@mirror"\n')
    assert '# index = "https://***@mirror"' in corral(tmp_path, "config", "show").stdout.splitlines()


@pytest.mark.parametrize("name", ["OLLAMA_HOST", "CORRAL_HOSTS"])
@pytest.mark.parametrize("value", ["http://me:pass-word@host", "me:pass-word@host", "me@pass-word"])
def test_passwords_are_not_in_errors(tmp_path: Path, name: str, value: str) -> None:
    """An address of a server cannot have any."""
    for words in (["serve"], ["doctor", "--json"], ["config", "check"]):
        done = corral(tmp_path, *words, **{name: value})
        assert done.returncode == 1
        assert "user name and a password" in done.stdout + done.stderr
        assert value == "me@pass-word" or "pass-word" not in done.stdout + done.stderr


def test_passwords_of_proxies_and_registries_are_not_in_findings(tmp_path: Path) -> None:
    values = {
        "HTTPS_PROXY": "http://me:pass-word@127.0.0.1:9",
        "HTTP_PROXY": "me:pass-word@127.0.0.1:9",
        "CORRAL_DEFAULT_REGISTRY": "https://me:pass-word@127.0.0.1:9",
        "CORRAL_ENGINE_INDEX": "https://me:pass-word@127.0.0.1:9",
        "OLLAMA_HOST": "127.0.0.1:9",
    }
    done = corral(tmp_path, "doctor", **values)
    assert "HTTPS_PROXY" in done.stdout
    assert "pass-word" not in done.stdout + done.stderr
    installed = corral(tmp_path, "engine", "install", "vulkan", **values)
    assert installed.returncode == 1 and "pass-word" not in installed.stdout + installed.stderr
    written = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert "pass-word" not in written


def test_check_lists_all_problems(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[limits]\nmax_queue = 'x'\nmax_quue = 1\n")
    checked = corral(tmp_path, "config", "check")
    assert checked.returncode == 1
    assert [line.partition(": ")[0] for line in checked.stdout.splitlines()] == [f"{file}:2", f"{file}:3"]
    refused = corral(tmp_path, "serve")
    assert refused.returncode == 1 and f"Error: {file}:2: " in refused.stderr
    assert "corral config check lists all problems" in refused.stderr
    assert "Traceback" not in refused.stderr
    doctor = json.loads(corral(tmp_path, "doctor", "--json", OLLAMA_HOST="127.0.0.1:9").stdout)
    found = [check for check in doctor["checks"] if check["check"] == "config"]
    assert [check["level"] for check in found] == ["fail", "fail"]


def test_check_finds_options_of_the_wrong_type(tmp_path: Path) -> None:
    """What a server would refuse to start with."""
    (tmp_path / "config.toml").write_text("[models.m]\nset = { temperature = 'hot' }\n")
    checked = corral(tmp_path, "config", "check")
    assert checked.returncode == 1
    assert checked.stdout == '[models."m"]: option "temperature" must be of type float32\n'


@pytest.mark.parametrize("words", [["shwo"], ["show", "more"]])
def test_words_that_config_does_not_take(tmp_path: Path, words: list[str]) -> None:
    done = corral(tmp_path, "config", *words)
    assert done.returncode == 1 and done.stderr.startswith("Error: ")


def test_a_server_reads_its_file(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """A limit of the file holds; a variable is stronger."""
    file = tmp_path / "my.toml"
    file.write_text("[limits]\nmax_json_depth = 3\n")
    deep = b'{"model": "m", "options": {"a": {"b": {"c": 1}}}}'
    server = start_server(CORRAL_CONFIG=str(file))
    status, answer = server.request("POST", "/api/show", deep)
    assert status == 400 and b"exceeded max depth" in answer
    other = start_server(CORRAL_CONFIG=str(file), CORRAL_MAX_JSON_DEPTH="9")
    assert other.request("POST", "/api/show", deep)[0] == 404
