"""`launch` with agents that print what they were given, and what it does to their settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cli.agents.agents import AGENTS, Target
from corral.cli.agents.foreign_settings import ForeignSettings, SettingsError
from tests.cli.replay import Replay
from tests.cli.screen import Screen

AGENT = """#!{python}
import json, os, sys
print(json.dumps({{"argv": sys.argv[1:], "env": dict(os.environ)}}))
"""


@pytest.fixture
def ready(replay: Callable[..., Replay], tmp_path: Path) -> Replay:
    """A server with models one and two, and every agent on PATH."""

    def answer(method: str, path: str, body: Any, **more: Any) -> dict[str, Any]:
        kind = "empty" if body is None else "json"
        head = {"method": method, "path": path, "json": None, "status": 200, "ctype": "application/json"}
        return {**head, "kind": kind, "body": body, **more}

    missing = {"error": "model 'nope' not found"}
    embedder = {"name": "vectors:latest", "capabilities": ["embedding"]}
    models = [{"name": f"{name}:latest", "capabilities": ["completion"]} for name in ("one", "two")]
    double = replay(
        [
            answer("HEAD", "/", None),
            answer("GET", "/api/tags", {"models": [models[0], embedder, models[1]]}),
            answer("POST", "/api/show", {"capabilities": ["completion"]}),
            answer("POST", "/api/show", missing, json={"model": "nope"}, status=404),
        ]
    )
    folder = tmp_path / "bin"
    folder.mkdir()
    for agent in AGENTS:
        path = folder / agent.program
        path.write_text(AGENT.format(python=sys.executable))
        path.chmod(0o755)
    double.env["PATH"] = f"{folder}:/usr/bin:/bin"
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "http_proxy", "HTTP_PROXY"):
        double.env.pop(name, None)
    return double


def run(double: Replay, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "launch", *words],
        stdin=subprocess.DEVNULL,
        env={**double.env, **env},
        cwd=double.home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def started(double: Replay, *words: str, **env: str) -> tuple[list[str], dict[str, str]]:
    result = run(double, *words, **env)
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    return seen["argv"], seen["env"]


def url_of(double: Replay) -> str:
    return f"http://{double.env['OLLAMA_HOST']}"


def files_below(folder: Path) -> set[str]:
    """Files in the home folder other than those of `launch` itself."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith((".corral/", ".ollama/"))}


def test_claude(ready: Replay) -> None:
    """Variables and the model's name; what stands behind `--` follows; no file is written."""
    argv, env = started(ready, "claude", "--model", "one", "--", "-p", "--model")
    assert argv == ["--model", "one", "-p", "--model"]
    assert env["ANTHROPIC_BASE_URL"] == url_of(ready)
    assert env["ANTHROPIC_AUTH_TOKEN"] == "ollama"
    assert env["ANTHROPIC_API_KEY"] == ""
    assert {env[f"ANTHROPIC_DEFAULT_{size}_MODEL"] for size in ("OPUS", "SONNET", "HAIKU")} == {"one"}
    assert files_below(ready.home) == set()
    state = json.loads((ready.home / ".ollama" / "config.json").read_text())
    assert state["integrations"]["claude"]["models"] == ["one"]


def test_a_key_and_a_proxy(ready: Replay) -> None:
    """The key of a guarded server is passed on; requests to this machine do not go to a proxy."""
    _, env = started(
        ready,
        "claude",
        "--model",
        "one",
        OLLAMA_API_KEY="k3y",
        http_proxy="http://proxy.example",
        no_proxy="a.b",
    )
    assert env["ANTHROPIC_AUTH_TOKEN"] == "k3y"
    assert env["no_proxy"] == "a.b,127.0.0.1"
    argv, _ = started(ready, "codex", "--model", "one", OLLAMA_API_KEY="k3y")
    assert 'env_key = "OLLAMA_API_KEY"' in argv[3]


def test_codex(ready: Replay) -> None:
    """Its arguments are TOML that says where the server is."""
    argv, _ = started(ready, "codex", "--model", "one")
    assert [argv[0], argv[2], *argv[4:]] == ["-c", "-c", "-m", "one"]
    parsed: dict[str, Any] = {}
    for override in (argv[1], argv[3]):
        parsed |= tomllib.loads(override)
    assert parsed["model_provider"] == "corral"
    assert parsed["model_providers"]["corral"] == {
        "name": "Corral",
        "base_url": f"{url_of(ready)}/v1",
        "wire_api": "responses",
    }


def test_agents_of_variables(ready: Replay) -> None:
    """opencode's inline settings, copilot's and qwen's variables."""
    _, env = started(ready, "opencode", "--model", "one")
    config = json.loads(env["OPENCODE_CONFIG_CONTENT"])
    assert config["model"] == "corral/one"
    assert config["provider"]["corral"]["options"]["baseURL"] == f"{url_of(ready)}/v1"
    _, env = started(ready, "copilot-cli", "--model", "one")
    assert (env["COPILOT_PROVIDER_BASE_URL"], env["COPILOT_MODEL"]) == (f"{url_of(ready)}/v1", "one")
    _, env = started(ready, "qwen", "--model", "one")
    assert (env["OPENAI_BASE_URL"], env["OPENAI_MODEL"]) == (f"{url_of(ready)}/v1", "one")


def test_more_agents_of_variables_and_words(ready: Replay) -> None:
    """Each with its own names for the address, the key and the model; no file of the person's is written."""
    _, env = started(ready, "pool", "--model", "one")
    assert (env["POOLSIDE_STANDALONE_BASE_URL"], env["POOLSIDE_API_KEY"]) == (f"{url_of(ready)}/v1", "ollama")
    argv, _ = started(ready, "pool", "--model", "one", "--", "--help")
    assert argv == ["-m", "one", "--help"]
    argv, env = started(ready, "talos", "--model", "one")
    assert argv == ["chat"]
    assert (env["TALOS_BASE_URL_OPENAI_API"], env["TALOS_MODEL"]) == (f"{url_of(ready)}/v1", "one")
    argv, env = started(ready, "omp", "--model", "one")
    assert argv == ["--model", "ollama/one"]
    assert env["OLLAMA_BASE_URL"] == url_of(ready)
    argv, _ = started(ready, "kimi", "--model", "one", "--", "--yolo")
    config = json.loads(argv[1])
    assert (argv[0], argv[2]) == ("--config", "--yolo")
    assert config["providers"][config["models"][config["default_model"]]["provider"]]["base_url"] == (
        f"{url_of(ready)}/v1"
    )
    assert files_below(ready.home) == set()


def test_settings_of_a_launch_lie_apart(ready: Replay) -> None:
    """muse and dsh read files: theirs are ours, what the person has is read and not written."""
    mine = ready.home / ".config" / "muse" / "settings.json"
    mine.parent.mkdir(parents=True)
    mine.write_text('{"hooks": ["a"], "model": "meta"}')
    _, env = started(ready, "muse-code", "--model", "one")
    path = Path(env["XDG_CONFIG_HOME"]) / "muse" / "settings.json"
    assert path.is_relative_to(ready.home / ".corral")
    settings = json.loads(path.read_text())
    assert (settings["hooks"], settings["model"]) == (["a"], "one")
    assert settings["endpoint_transport"] == {"base_url": f"{url_of(ready)}/v1", "auth": "none"}
    path.write_text(json.dumps({**settings, "learned": 1}))
    started(ready, "muse", "--model", "two")
    assert json.loads(path.read_text())["learned"] == 1
    assert mine.read_text() == '{"hooks": ["a"], "model": "meta"}'
    argv, env = started(ready, "dsh", "--model", "one")
    patch = json.loads(Path(argv[2]).read_text())
    document = json.loads(Path(patch[0]["config"]["path"]).read_text())
    provider = document["llm-pi-ai"]["providers"][document["agent-default-model"]["provider"]]
    assert provider["baseURL"] == f"{url_of(ready)}/v1"
    assert env[provider["apiKeyEnv"]] == "ollama"
    assert files_below(ready.home) == {".config/muse/settings.json"}


CASES = {
    "claude": (".claude/settings.json", '{\n    "hooks": {"x": [1, 2.50]},\n    "env": {"A": "b"}\n}\n'),
    "opencode": (".config/opencode/opencode.json", '{"theme": "né", "model": "anthropic/x"}'),
    "cline": (".cline/data/globalState.json", '{"actModeApiProvider": "anthropic", "mode": "act"}'),
    "droid": (".factory/settings.json", '{"customModels": [{"id": "mine", "model": "m"}], "sound": "on"}'),
    "pi": (".pi/agent/models.json", '{"providers": {"mine": {"baseUrl": "x"}}, "z": [1]}'),
    "vscode": (".config/Code/User/chatLanguageModels.json", '[{"vendor": "mine", "name": "M"}]\n'),
    "codex": (".codex/config.toml", 'model = "gpt"\n\n[model_providers.mine]\nname = "x" # keep\n'),
}


def parse(path: Path) -> dict[str, Any]:
    text = path.read_text()
    return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)


@pytest.mark.parametrize("name", CASES)
def test_configure_and_restore(ready: Replay, name: str) -> None:
    """Twice is once; all that was there stays; restoring gives the same bytes and mode."""
    place, text = CASES[name]
    path = ready.home / place
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o640)
    before = parse(path)
    assert run(ready, name, "--config", "--model", "one").returncode == 0
    once = path.read_text()
    again = run(ready, name, "--config", "--model", "one")
    assert "is already up to date" in again.stderr
    assert path.read_text() == once
    assert url_of(ready) in once
    assert path.stat().st_mode & 0o777 == 0o640
    after = parse(path)
    if isinstance(before, list):
        assert after[: len(before)] == before
        before = {}
    for key, value in before.items():
        if isinstance(value, dict):
            assert after[key].items() >= value.items()
        elif isinstance(value, list):
            assert after[key][: len(value)] == value
    assert run(ready, name, "--config", "--model", "two").returncode == 0
    restored = run(ready, name, "--restore")
    assert restored.returncode == 0, restored.stderr
    assert path.read_text() == text
    assert path.stat().st_mode & 0o777 == 0o640
    nothing = run(ready, name, "--undo")
    assert nothing.returncode == 1
    assert "was never changed" in nothing.stderr


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_was_not_there(ready: Replay, name: str) -> None:
    """It is made for the person alone, and goes again."""
    path = ready.home / CASES[name][0]
    assert run(ready, name, "--config", "--model", "one").returncode == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert run(ready, name, "--restore").returncode == 0
    assert not path.exists()


@pytest.mark.parametrize("name", CASES)
def test_changes_after_it_stay(ready: Replay, name: str) -> None:
    """What was added since survives the restoring, what was put in goes, what it replaced comes back."""
    place, text = CASES[name]
    path = ready.home / place
    path.parent.mkdir(parents=True)
    path.write_text(text)
    before: Any = parse(path)
    assert run(ready, name, "--config", "--model", "one").returncode == 0
    wanted: Any
    if path.suffix == ".toml":
        path.write_text("added = 1\n" + path.read_text() + "[tail]\n")
        wanted = {"added": 1, **before, "tail": {}}
    elif isinstance(before, list):
        path.write_text(json.dumps([*parse(path), {"added": 1}]))
        wanted = [*before, {"added": 1}]
    else:
        path.write_text(json.dumps({**parse(path), "added": 1}))
        wanted = {**before, "added": 1}
    assert run(ready, name, "--config", "--model", "two").returncode == 0
    assert run(ready, name, "--restore").returncode == 0
    assert parse(path) == wanted


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("claude", '{"a": 1, // why\n}'),
        ("claude", "[1]"),
        ("claude", '{"env": "x"}'),
        ("droid", '{"customModels": {"a": 1}}'),
        ("vscode", '{"a": 1}'),
        ("pi", '{"providers": 5}'),
        ("codex", "a = = 1\n"),
        ("codex", '[model_providers.corral]\nname = "mine"\n'),
        ("codex", 'model_providers = { mine = { name = "x" } }\n'),
    ],
)
def test_what_cannot_be_understood_is_left_alone(ready: Replay, name: str, text: str) -> None:
    """An error, and the same bytes."""
    path = ready.home / CASES[name][0]
    path.parent.mkdir(parents=True)
    path.write_text(text)
    result = run(ready, name, "--config", "--model", "one")
    assert result.returncode == 1
    assert "nothing was changed" in result.stderr
    assert path.read_text() == text
    assert not list((ready.home / ".corral").rglob("*.json"))


def test_links_stay_links(ready: Replay) -> None:
    """People keep their settings elsewhere and link to them."""
    real = ready.home / "dotfiles.json"
    real.write_text("{}")
    path = ready.home / ".claude" / "settings.json"
    path.parent.mkdir()
    path.symlink_to(real)
    assert run(ready, "claude", "--config", "--model", "one").returncode == 0
    assert path.is_symlink()
    assert "ANTHROPIC_BASE_URL" in real.read_text()
    assert run(ready, "claude", "--restore").returncode == 0
    assert real.read_text() == "{}"


def test_agents_with_a_file_are_started_after_it(ready: Replay) -> None:
    """cline reads nothing else."""
    result = run(ready, "cline", "--model", "one", "--", "task")
    assert json.loads(result.stdout)["argv"] == ["task"]
    settings = json.loads((ready.home / ".cline" / "data" / "globalState.json").read_text())
    assert settings["ollamaBaseUrl"] == url_of(ready)
    assert settings["planModeOllamaModelId"] == "one"


def test_config_of_variables_alone(ready: Replay) -> None:
    """A shell can read them."""
    result = run(ready, "qwen", "--config", "--model", "one")
    assert f"export OPENAI_BASE_URL={url_of(ready)}/v1\n" in result.stdout
    assert "does not support --restore" in run(ready, "qwen", "--restore").stderr


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nope"], "unknown integration: nope"),
        (
            ["--model", "x"],
            "flags and extra args require an integration name, for example: 'corral launch claude",
        ),
        (["--", "x"], "flags and extra args require an integration name"),
        (["claude", "a"], "unexpected arguments: [a]\nUse '--' to pass extra arguments to the integration"),
        (["claude", "--yes"], "headless --yes launch for claude requires --model <model>"),
        (
            ["claude", "--restore", "--model", "x"],
            "--restore cannot be combined with --model, --config, or extra args",
        ),
        (["claude"], "model selection requires an interactive terminal; use --model to run in headless mode"),
        (["claude", "--model", "nope"], "pull it first: corral pull nope"),
        (["hermes"], "hermes cannot be set up by corral\nhermes model, then More providers"),
        (
            ["clawdbot"],
            "clawdbot cannot be set up by corral\nopenclaw config set models.providers.ollama.baseUrl http",
        ),
    ],
)
def test_errors(ready: Replay, words: list[str], error: str) -> None:
    """The original's texts where it has them."""
    result = run(ready, *words)
    assert result.returncode == 1
    assert error in result.stderr


def test_not_installed(ready: Replay) -> None:
    """Says where to get it; the settings can be written all the same."""
    result = run(ready, "claude", "--model", "one", PATH="/usr/bin:/bin")
    assert result.returncode == 1
    assert "claude is not installed, install from https://" in result.stderr
    assert run(ready, "claude", "--config", "--model", "one", PATH="/usr/bin:/bin").returncode == 0


@pytest.mark.parametrize(
    ("length", "parameters", "told"),
    [
        (131072, "stop x\nnum_ctx 4096", "4096"),
        (2048, "", "2048"),
        (131072, "num_ctx 65536", ""),
        (131072, "", ""),
    ],
)
def test_a_short_context(
    ready: Replay, replay: Callable[..., Replay], length: int, parameters: str, told: str
) -> None:
    """Known from the model's parameters or its training; nothing is said where nothing is known."""
    shown = {
        "capabilities": ["completion"],
        "model_info": {"general.architecture": "llama", "llama.context_length": length},
        "parameters": parameters,
    }
    head = {"json": None, "status": 200, "ctype": "application/json"}
    double = replay(
        [
            {**head, "method": "HEAD", "path": "/", "kind": "empty", "body": None},
            {**head, "method": "POST", "path": "/api/show", "kind": "json", "body": shown},
        ]
    )
    result = run(ready, "qwen", "--model", "one", OLLAMA_HOST=double.env["OLLAMA_HOST"])
    assert result.returncode == 0
    wanted = f"Warning: one has a context of {told} tokens"
    assert (wanted in result.stderr) if told else ("Warning" not in result.stderr)


def test_list(ready: Replay) -> None:
    """Which there are, which are installed, and which were configured."""
    run(ready, "claude", "--config", "--model", "one")
    rows = [line.split() for line in run(ready).stdout.splitlines()]
    assert ["claude", "Claude", "Code", "yes", "configured"] in rows
    assert ["codex", "Codex", "yes"] in rows


def test_choosing_on_a_terminal(ready: Replay, terminal: Callable[..., Screen]) -> None:
    """By number or name; Enter takes what was used last."""
    screen = terminal(ready.env, "launch", "claude")
    screen.wait_for("[one:latest]:")
    screen.enter("9")
    screen.wait_for("no model named 9")
    screen.enter("2")
    assert screen.wait_for_end() == 0
    assert '"argv": ["--model", "two:latest"]' in screen.raw
    assert "vectors" not in screen.text
    again = terminal(ready.env, "launch", "claude")
    again.wait_for("[two:latest]:")
    again.type("\x03")
    assert again.wait_for_end() == 130


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(["env", "model", "provider", "customModels", "x"]), JSON))
def test_any_settings_survive(tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]) -> None:
    """Whatever a file holds: it is refused whole, or restored whole."""
    folder = tmp_path_factory.mktemp("settings")
    target = Target("http://127.0.0.1:1", "m")
    for agent in AGENTS:
        if agent.changes is None:
            continue
        path = folder / f"{agent.name}.json"
        text = json.dumps(value)
        path.write_text(text)
        settings = ForeignSettings(path, folder / "records", agent.name)
        try:
            settings.put_json(agent.changes(target))
        except SettingsError:
            assert path.read_text() == text
            continue
        path.write_text(json.dumps({**json.loads(path.read_text()), "since": 1}))
        settings.undo()
        assert json.loads(path.read_text()) == {**value, "since": 1}
    assert not any(name.startswith(".") for name in os.listdir(folder))
