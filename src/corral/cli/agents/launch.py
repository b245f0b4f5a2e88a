"""`launch`: starts a coding agent that uses a model of the server, or writes its settings (ollama: cmd/launch)."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from corral.cli.agents.agents import AGENTS, UNSUPPORTED, Agent, Target, find_agent
from corral.cli.agents.foreign_settings import ForeignSettings
from corral.cli.frame.flags import PROGRAM, Arguments, UsageError
from corral.cli.http.address import reach_server, server_client
from corral.cli.http.client import APIError, Client
from corral.cli.terminal.screen import is_terminal, safe
from corral.cli.terminal.tables import screen_table
from corral.disk import make_folders, write_atomically
from corral.errors import CorralError
from corral.homefolder import home_folder

_LEAST_CONTEXT = 32_768


def launch(arguments: Arguments) -> None:
    """Replace this process by the agent; returns only if nothing is started."""
    extra = arguments.passed_on
    words = arguments.words[: len(arguments.words) - len(extra)]
    is_undo = arguments.has("restore") or arguments.has("undo")
    if not words:
        if arguments.flags or extra:
            raise UsageError(
                "flags and extra args require an integration name, for example: "
                f"'{PROGRAM} launch claude --model qwen3.5'"
            )
        _list()
        return
    if len(words) > 1:
        raise UsageError(
            f"unexpected arguments: [{' '.join(words[1:])}]\nUse '--' to pass extra arguments to the integration"
        )
    agent = _agent(words[0])
    if is_undo:
        if arguments.get("model") or arguments.has("config") or extra:
            raise UsageError("--restore cannot be combined with --model, --config, or extra args")
        _undo(agent)
        return
    if arguments.has("yes") and not arguments.get("model"):
        raise UsageError(f"headless --yes launch for {agent.name} requires --model <model>")
    program = shutil.which(agent.program)
    if program is None and not arguments.has("config"):
        hint = f"or: {agent.install_command}" if agent.install_command else ""
        raise CorralError(f"{agent.name} is not installed, install from {agent.install_url}", hint=hint)
    client = reach_server()
    target = _target(client, agent, _model(client, agent, arguments.get("model")))
    _remember(agent, target.model)
    if arguments.has("config"):
        _configure(agent, target)
        return
    assert program is not None
    if agent.needs_file:
        _configure(agent, target)
    _start(agent, target, program, extra)


def _list() -> None:
    rows = []
    for agent in AGENTS:
        settings = _settings(agent)
        state = "configured" if settings is not None and settings.has_record else ""
        rows.append((agent.name, agent.title, "yes" if shutil.which(agent.program) else "no", state))
    sys.stdout.write(
        screen_table(rows, header=("NAME", "AGENT", "INSTALLED", "SETTINGS"), dispensable=("SETTINGS",))
    )


def _agent(name: str) -> Agent:
    agent = find_agent(name)
    if agent is not None:
        return agent
    if name in UNSUPPORTED:
        url = server_client().address.url().rstrip("/")
        raise CorralError(f"{name} cannot be set up by {PROGRAM}", hint=UNSUPPORTED[name].format(url=url))
    raise UsageError(f"unknown integration: {name}")


def _settings(agent: Agent) -> ForeignSettings | None:
    if agent.settings_path is None:
        return None
    return ForeignSettings(agent.settings_path(), home_folder() / "launch", agent.name)


def _undo(agent: Agent) -> None:
    settings = _settings(agent)
    if settings is None:
        raise CorralError(
            f"{agent.name} does not support --restore", hint="it has no settings file to restore"
        )
    settings.undo()
    print(f"{settings.path} is restored", file=sys.stderr)


def _model(client: Client, agent: Agent, wanted: str) -> str:
    """The model that was named, or that the user chooses from a list.

    Raises:
        APIError: it does not exist, or nobody can be asked.
    """
    if wanted:
        try:
            client.call("POST", "/api/show", {"model": wanted})
        except APIError as error:
            if error.status != 404:
                raise
            raise APIError(f"{error}\npull it first: {PROGRAM} pull {wanted}", error.status) from None
        return wanted
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise CorralError(
            "model selection requires an interactive terminal; use --model to run in headless mode"
        )
    names = [
        model["name"]
        for model in client.call("GET", "/api/tags")["models"] or ()
        if "completion" in model.get("capabilities", ("completion",))
    ]
    if not names:
        raise CorralError("no models found", hint=f"pull one: {PROGRAM} pull MODEL")
    return _choose(names, _remembered(agent))


def _context_of(client: Client, model: str) -> int:
    """The model's context length, 0 if unknown. Prints a warning if it is too short for an agent's first request.

    Without `num_ctx` the server decides, and does not report the length before it loads the model.
    """
    info = client.call("POST", "/api/show", {"model": model})
    facts = info.get("model_info") or {}
    lengths = [facts.get(f"{facts.get('general.architecture', '')}.context_length")]
    lines = [line.split() for line in (info.get("parameters") or "").splitlines()]
    lengths += [int(line[1]) for line in lines if line[:1] == ["num_ctx"] and line[1].isdecimal()]
    known = [length for length in lengths if isinstance(length, int)]
    if known and min(known) < _LEAST_CONTEXT:
        print(
            safe(
                f"Warning: {model} has a context of {min(known)} tokens; the first request of a coding agent "
                "takes 9,000 to 50,000"
            ),
            file=sys.stderr,
        )
    return min(known, default=0)


def _choose(names: list[str], last: str) -> str:
    for number, name in enumerate(names, 1):
        print(safe(f"{number:3} {name}"), file=sys.stderr)
    default = last if last in names else names[0]
    while True:
        print(safe(f"Model (number or name) [{default}]: "), end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise KeyboardInterrupt
        answer = line.strip() or default
        if answer.isdecimal() and 1 <= int(answer) <= len(names):
            return names[int(answer) - 1]
        if answer in names or f"{answer}:latest" in names:
            return answer
        print(safe(f"no model named {answer}"), file=sys.stderr)


def _target(client: Client, agent: Agent, model: str) -> Target:
    names = ("CORRAL_API_KEY", "OLLAMA_API_KEY")
    variable = next((name for name in names if os.environ.get(name, "").strip()), "")
    key = os.environ[variable].strip() if variable else "ollama"
    return Target(
        client.address.url().rstrip("/"),
        model,
        key,
        variable,
        _context_of(client, model) or _LEAST_CONTEXT,
        home_folder() / "launch" / agent.name,
    )


def _write_files(agent: Agent, target: Target) -> None:
    """Write the files of this launch, into a folder of our own."""
    for name, text in (agent.files(target) if agent.files is not None else {}).items():
        path = target.folder / name
        make_folders(path.parent, mode=0o700)
        write_atomically(path, (text + "\n").encode(), mode=0o600)


def _configure(agent: Agent, target: Target) -> None:
    """Write the agent's settings; for an agent without a settings file, print the variables to set."""
    settings = _settings(agent)
    if settings is None:
        _write_files(agent, target)
        for name, value in agent.env(target).items():
            print(f"export {name}={shlex.quote(value)}")
        command = shlex.join([agent.program, *agent.words(target)])
        print(f"{agent.title} reads no settings file for this; start it with: {command}", file=sys.stderr)
        return
    if agent.toml is not None:
        is_changed = settings.put_toml_table(*agent.toml(target))
    else:
        assert agent.changes is not None
        is_changed = settings.put_json(agent.changes(target))
    print(f"{settings.path} {'was changed' if is_changed else 'is already up to date'}", file=sys.stderr)
    print(f"undo this with: {PROGRAM} launch {agent.name} --restore", file=sys.stderr)
    if agent.hint is not None:
        print(f"start it with: {agent.hint(target)}", file=sys.stderr)


def _start(agent: Agent, target: Target, program: str, extra: list[str]) -> NoReturn:
    _write_files(agent, target)
    env = {**os.environ, **agent.env(target), **_proxy_exception(target.url, os.environ)}
    print(safe(f"Launching {agent.title} with {target.model}"), file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(program, [program, *agent.words(target), *extra], env)
    except OSError as exc:
        raise CorralError(f"{program} cannot be started: {(exc.strerror or str(exc)).lower()}") from exc


def _proxy_exception(url: str, env: Mapping[str, str]) -> dict[str, str]:
    """Variables that keep agents from sending requests for this machine to a proxy."""
    host = url.partition("://")[2].rpartition(":")[0].strip("[]")
    has_proxy = any(env.get(name) for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"))
    if not has_proxy or not (host == "localhost" or host == "::1" or host.startswith("127.")):
        return {}
    present = env.get("no_proxy") or env.get("NO_PROXY") or ""
    if host in present.split(","):
        return {}
    value = f"{present},{host}" if present else host
    return {"no_proxy": value, "NO_PROXY": value}


def _state_path() -> Path:
    return Path.home() / ".ollama" / "config.json"


def _state() -> dict[str, Any]:
    try:
        state = json.loads(_state_path().read_text())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _remembered(agent: Agent) -> str:
    """The model that this agent was launched with last."""
    try:
        return str(_state()["integrations"][agent.name]["models"][0])
    except (KeyError, IndexError, TypeError):
        return ""


def _remember(agent: Agent, model: str) -> None:
    """Remember the model, in the same file as Ollama. A failure does not stop the launch."""
    path = _state_path()
    state = _state()
    if not state and path.exists():
        return  # cannot be parsed, and must not be replaced
    try:
        entry = state.setdefault("integrations", {}).setdefault(agent.name, {})
        entry["models"] = [model, *(name for name in entry.get("models") or () if name != model)]
        state["last_model"] = model
        state["last_selection"] = agent.name
        write_atomically(path, (json.dumps(state, indent=2) + "\n").encode(), mode=0o644)
    except (OSError, AttributeError, TypeError):
        return
