"""What the library commands do beyond the original: JSON, order, patterns, `pull --all`, `--host`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from corral.cli.models.rm import is_pattern, matching
from tests.cli.replay import Replay
from tests.cli.screen import Screen
from tests.conftest import PLAIN_TEMPLATE, Server
from tests.doubles.real_registry import BINARY, RealRegistry
from tests.registry.conftest import CONFIG, say_layers


def run(env: dict[str, str], *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corral.cli.main", *words],
        input=stdin,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def tags(*models: tuple[str, int, str]) -> list[dict[str, Any]]:
    body = [
        {"name": name, "model": name, "modified_at": modified, "size": size, "digest": "0" * 64}
        for name, size, modified in models
    ]
    return [
        {"method": "HEAD", "path": "/", "json": None, "status": 200, "ctype": "", "kind": "empty"},
        {"method": "GET", "path": "/api/tags", "json": None, "status": 200, "ctype": "application/json",
         "kind": "json", "body": {"models": body}},
    ]  # fmt: skip


THREE = (
    ("beta:latest", 5, "2026-01-03T00:00:00.5Z"),
    ("Alpha:latest", 70, "2026-01-01T00:00:00+02:00"),
    ("gamma:7b", 70, "2026-01-02T00:00:00.123456789Z"),
)


def test_json_is_what_the_api_says(replay: Callable[..., Replay]) -> None:
    """list, ps and show print the answers of a server, whichever it is; the filter holds."""
    recorded = replay()
    listed = json.loads(run(recorded.env, "list", "--json").stdout)
    assert [model["name"] for model in listed["models"]] == ["one:latest", "two:latest", "team/three:v1"]
    assert listed["models"][0]["size"] == 255861
    assert [m["name"] for m in json.loads(run(recorded.env, "ls", "TW", "--json").stdout)["models"]] == [
        "two:latest"
    ]
    running = json.loads(run(recorded.env, "ps", "--json").stdout)["models"]
    assert running[0]["name"] == "emb:latest"
    assert running[0]["context_length"] == 128
    shown = json.loads(run(recorded.env, "show", "one", "--json").stdout)
    assert shown["details"]["family"] == "llama"
    clash = run(recorded.env, "show", "one", "--json", "--system")
    assert clash.returncode == 1
    assert "'--json' cannot be combined with '--system'" in clash.stderr


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("name", ["Alpha:latest", "beta:latest", "gamma:7b"]),
        ("size", ["Alpha:latest", "gamma:7b", "beta:latest"]),
        ("modified", ["beta:latest", "gamma:7b", "Alpha:latest"]),
    ],
)
def test_order(replay: Callable[..., Replay], order: str, names: list[str]) -> None:
    """Names from a to z, sizes and times from the top; table and JSON agree."""
    env = replay(tags(*THREE)).env
    table = run(env, "list", "--sort", order).stdout.splitlines()
    assert [line.split()[0] for line in table[1:]] == names
    listed = json.loads(run(env, "list", f"--sort={order}", "--json").stdout)["models"]
    assert [model["name"] for model in listed] == names


def test_an_order_that_does_not_exist(replay: Callable[..., Replay]) -> None:
    """The error names those that do."""
    result = run(replay(tags(*THREE)).env, "list", "--sort", "age")
    assert result.returncode == 1
    assert result.stderr == 'Error: invalid argument "age" for "--sort" flag: name, size or modified\n'


@pytest.mark.parametrize("place", ["before", "after", "joined"])
def test_host(replay: Callable[..., Replay], place: str) -> None:
    """Before or behind the command, it wins over the environment."""
    double = replay(tags(*THREE))
    env = {**double.env, "OLLAMA_HOST": "127.0.0.1:1"}
    host = double.env["OLLAMA_HOST"]
    words = {
        "before": ["--host", host, "list"],
        "after": ["list", "--host", host],
        "joined": [f"--host=http://{host}/", "list"],
    }[place]
    assert "beta:latest" in run(env, *words).stdout
    refused = run(double.env, "list", "--host", "127.0.0.1:1")
    assert refused.returncode == 1
    assert "could not connect to corral server" in refused.stderr
    assert run(env, "list", "--host").stderr == "Error: flag needs an argument: --host\n"


def test_host_is_in_every_help(replay: Callable[..., Replay]) -> None:
    """And needs no server for that."""
    for words in (["--help"], ["cp", "--help"], ["serve", "--help"]):
        assert "--host string" in run(replay([]).env, *words).stdout


def test_patterns() -> None:
    """A shell's rules: wildcards stay between slashes; `:latest` may be left out."""
    names = ["test-a:latest", "test-a:v2", "team/test-b:v1", "Test-c:latest", "hf.co/x/y:q4"]
    assert matching("test-*", names) == ["test-a:latest", "test-a:v2"]
    assert matching("test-?", names) == ["test-a:latest"]
    assert matching("*:v[12]", names) == ["test-a:v2"]
    assert matching("*/test-*", names) == ["team/test-b:v1"]
    assert matching("hf.co/*/*", names) == ["hf.co/x/y:q4"]
    assert matching("*", names) == ["test-a:latest", "test-a:v2", "Test-c:latest"]
    assert [is_pattern(word) for word in ("a", "a*", "a?", "[ab]")] == [False, True, True, True]


@pytest.fixture
def copies(start_server: Callable[..., Server]) -> Iterator[Server]:
    """A server with test-1, test-2, keep and team/test-3."""
    server = start_server()
    server.create("keep", "say", template=PLAIN_TEMPLATE)
    for name in ("test-1", "test-2", "team/test-3"):
        server.request("POST", "/api/copy", {"source": "keep", "destination": name})
    yield server


def names_of(server: Server) -> set[str]:
    return {model["name"] for model in server.get("/api/tags")["models"]}


def test_remove_by_pattern(copies: Server) -> None:
    """Patterns are resolved before anything goes; one that fits nothing ends it all."""
    nothing = run(copies.env, "rm", "keep", "test-*", "nope*")
    assert nothing.returncode == 1
    assert nothing.stderr == "Error: no model matches 'nope*'; nothing was deleted\n"
    assert len(names_of(copies)) == 4
    done = run(copies.env, "rm", "test-1", "test-*", "*-2*", "-y")
    assert done.stdout == "deleted 'test-1'\ndeleted 'test-2:latest'\n"
    assert names_of(copies) == {"keep:latest", "team/test-3:latest"}
    assert run(copies.env, "rm", "*/test-?").stdout == "deleted 'team/test-3:latest'\n"


def test_a_terminal_is_asked(copies: Server, terminal: Callable[..., Screen]) -> None:
    """More than one by pattern: no is the default, and --yes asks nothing."""
    screen = terminal(copies.env, "rm", "test-*")
    screen.wait_for("Delete these 2 models? [y/N]")
    assert "test-1:latest" in screen.text
    screen.enter("")
    assert screen.wait_for_end() == 1
    assert "nothing was deleted" in screen.text
    assert len(names_of(copies)) == 4
    one = terminal(copies.env, "rm", "*/test-*")
    assert one.wait_for_end() == 0
    yes = terminal(copies.env, "rm", "test-*")
    yes.wait_for("[y/N]")
    yes.enter("y")
    assert yes.wait_for_end() == 0
    assert names_of(copies) == {"keep:latest"}


@pytest.mark.skipif(
    BINARY is None, reason="docker-registry is not installed (Debian: apt install docker-registry)"
)
def test_pull_all(start_server: Callable[..., Server]) -> None:
    """Models of registries are updated, the others left alone; a failure is told and counted, the rest goes on."""
    registry, lost = RealRegistry(), RealRegistry()
    server = start_server()
    try:
        for where, name in ((registry, "lib/a"), (registry, "lib/b"), (lost, "lib/c")):
            where.put_model(name, say_layers(), CONFIG)
            server.stream("/api/pull", {"model": f"{where.host}/{name}", "insecure": True})
        server.create("mine", "say", template=PLAIN_TEMPLATE)
        copied = {"source": f"{registry.host}/lib/a", "destination": f"{registry.host}/lib/copy"}
        assert server.request("POST", "/api/copy", copied)[0] == 200
        origins = server.get("/api/origins")["origins"]
        assert origins["mine:latest"] == "local"
        assert origins[f"{lost.host}/lib/c:latest"] == "registry"
        registry.put_model("lib/b", {**say_layers(), "system": b"New."}, CONFIG)
        lost.stop()
        before = {model["name"]: model["digest"] for model in server.get("/api/tags")["models"]}
        result = run(server.env, "pull", "--all", "--insecure")
        after = {model["name"]: model["digest"] for model in server.get("/api/tags")["models"]}
    finally:
        registry.close()
        lost.close()
    assert result.returncode == 1
    assert result.stdout == ""
    changed = f"{registry.host}/lib/b:latest"
    assert {name for name in after if after[name] != before[name]} == {changed}
    assert result.stderr.splitlines()[-1] == (
        f"4 of 5 models were pulled from registries: 1 updated ({changed}), 1 up to date, "
        f"1 not in the registry ({registry.host}/lib/copy:latest), 1 failed ({lost.host}/lib/c:latest), "
        "1 created locally and left alone"
    )
    assert f"Error: {lost.host}/lib/c:latest: pull model manifest:" in result.stderr


def test_what_to_do_about_a_registry(start_server: Callable[..., Server]) -> None:
    """A registry that speaks plain http gets the person a way out, not only the reason."""
    server = start_server()
    result = run(server.env, "pull", f"127.0.0.1:{server.port}/lib/c")
    assert result.returncode == 1
    error, advice = result.stderr.splitlines()[-2:]
    assert error.endswith("http: server gave HTTP response to HTTPS client")
    assert advice.endswith("allow it with insecure (--insecure)")


def test_pull_all_takes_no_names(replay: Callable[..., Replay]) -> None:
    """And without --all a name is wanted, as ever."""
    env = replay(tags(*THREE)).env
    assert run(env, "pull", "--all", "x").stderr == "Error: accepts 0 arg(s), received 1\n"
    assert run(env, "pull").stderr == "Error: accepts 1 arg(s), received 0\n"
    assert run(env, "pull", "--all=false").stderr == "Error: accepts 1 arg(s), received 0\n"


def test_pull_all_of_another_server(replay: Callable[..., Replay]) -> None:
    """A server that cannot say what was made on it is not asked to replace that."""
    result = run(replay(tags(*THREE)).env, "pull", "--all")
    assert result.returncode == 1
    assert "does not report which of its models came from a registry" in result.stderr
