"""The coding agents that `launch` knows: how each is told where the server is. Sources: their own documentation.

An agent that takes all it needs from its environment or arguments is started with those, and no file is touched.
`settings` are for `launch --config`, or for agents that read nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from corral.cli.foreign_settings import Change

__all__ = ["AGENTS", "UNSUPPORTED", "Agent", "Target", "find_agent"]


@dataclass(frozen=True, slots=True)
class Target:
    """The server and the model. `url` has no slash at its end; `key` is what to send as one."""

    url: str
    model: str
    key: str = "ollama"
    key_variable: str = ""

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"


def _nothing(_target: Target) -> dict[str, str]:
    return {}


def _no_words(_target: Target) -> list[str]:
    return []


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent. `settings_path` None: it has no file; `changes` or `toml` is what goes into the file.

    `needs_file`: it is not enough to start it with `env` and `words`. `hint` says how to start it once configured.
    """

    name: str
    title: str
    program: str
    install_url: str
    install_command: str = ""
    aliases: tuple[str, ...] = ()
    env: Callable[[Target], dict[str, str]] = _nothing
    words: Callable[[Target], list[str]] = _no_words
    settings_path: Callable[[], Path] | None = None
    changes: Callable[[Target], list[Change]] | None = None
    toml: Callable[[Target], tuple[tuple[str, ...], str]] | None = None
    needs_file: bool = False
    hint: Callable[[Target], str] | None = None


def _folder(variable: str, *default: str) -> Path:
    return Path(os.environ.get(variable) or Path.home().joinpath(*default))


def _claude_env(target: Target) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": target.url,
        "ANTHROPIC_API_KEY": "",
        "ANTHROPIC_AUTH_TOKEN": target.key,
        "ANTHROPIC_MODEL": target.model,
        "ANTHROPIC_DEFAULT_OPUS_MODEL": target.model,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": target.model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": target.model,
    }


def _claude_changes(target: Target) -> list[Change]:
    return [(("env", name), value) for name, value in _claude_env(target).items()]


def _codex_provider(target: Target) -> list[tuple[str, str]]:
    pairs = [("name", "Corral"), ("base_url", target.openai_url), ("wire_api", "responses")]
    return [*pairs, ("env_key", target.key_variable)] if target.key_variable else pairs


def _codex_words(target: Target) -> list[str]:
    # Given as arguments, which all versions take alike; profiles have moved between files.
    table = ", ".join(f"{name} = {json.dumps(value)}" for name, value in _codex_provider(target))
    overrides = ['model_provider="corral"', f"model_providers.corral={{{table}}}"]
    return [*(word for text in overrides for word in ("-c", text)), "-m", target.model]


def _codex_toml(target: Target) -> tuple[tuple[str, ...], str]:
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in _codex_provider(target))
    return ("model_providers", "corral"), f"[model_providers.corral]\n{lines}"


def _opencode_provider(target: Target) -> dict[str, object]:
    return {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Corral",
        "options": {"baseURL": target.openai_url, "apiKey": target.key},
        "models": {target.model: {"name": target.model}},
    }


def _opencode_env(target: Target) -> dict[str, str]:
    config = {"model": f"corral/{target.model}", "provider": {"corral": _opencode_provider(target)}}
    return {"OPENCODE_CONFIG_CONTENT": json.dumps({"$schema": "https://opencode.ai/config.json", **config})}


def _opencode_changes(target: Target) -> list[Change]:
    return [
        (("provider", "corral"), _opencode_provider(target)),
        (("model",), f"corral/{target.model}"),
    ]


def _cline_changes(target: Target) -> list[Change]:
    values: dict[str, object] = {"ollamaBaseUrl": target.url, "welcomeViewCompleted": True}
    for mode in ("act", "plan"):
        values |= {f"{mode}ModeApiProvider": "ollama", f"{mode}ModeOllamaModelId": target.model}
    return [((name,), value) for name, value in values.items()]


def _droid_changes(target: Target) -> list[Change]:
    entry = {
        "id": "custom:corral",
        "model": target.model,
        "displayName": f"{target.model} (Corral)",
        "baseUrl": target.openai_url,
        "apiKey": target.key,
        "provider": "generic-chat-completion-api",
    }
    return [(("customModels", "id=custom:corral"), entry)]


def _copilot_env(target: Target) -> dict[str, str]:
    return {
        "COPILOT_PROVIDER_BASE_URL": target.openai_url,
        "COPILOT_PROVIDER_API_KEY": target.key,
        "COPILOT_PROVIDER_WIRE_API": "responses",
        "COPILOT_MODEL": target.model,
    }


def _qwen_env(target: Target) -> dict[str, str]:
    return {
        "OPENAI_API_KEY": target.key,
        "OPENAI_BASE_URL": target.openai_url,
        "OPENAI_MODEL": target.model,
    }


AGENTS: tuple[Agent, ...] = (
    Agent(
        "claude",
        "Claude Code",
        "claude",
        "https://code.claude.com/docs/en/quickstart",
        "npm install -g @anthropic-ai/claude-code",
        env=_claude_env,
        words=lambda target: ["--model", target.model],
        settings_path=lambda: _folder("CLAUDE_CONFIG_DIR", ".claude") / "settings.json",
        changes=_claude_changes,
    ),
    Agent(
        "codex",
        "Codex",
        "codex",
        "https://developers.openai.com/codex/cli/",
        "npm install -g @openai/codex",
        words=_codex_words,
        settings_path=lambda: _folder("CODEX_HOME", ".codex") / "config.toml",
        toml=_codex_toml,
        hint=lambda target: f"codex -c model_provider=corral -m {target.model}",
    ),
    Agent(
        "opencode",
        "OpenCode",
        "opencode",
        "https://opencode.ai",
        "npm install -g opencode-ai",
        env=_opencode_env,
        settings_path=lambda: _folder("XDG_CONFIG_HOME", ".config") / "opencode" / "opencode.json",
        changes=_opencode_changes,
    ),
    Agent(
        "cline",
        "Cline",
        "cline",
        "https://cline.bot/cli",
        "npm install -g cline",
        settings_path=lambda: Path.home() / ".cline" / "data" / "globalState.json",
        changes=_cline_changes,
        needs_file=True,
    ),
    Agent(
        "droid",
        "Droid",
        "droid",
        "https://docs.factory.ai/cli/getting-started/quickstart",
        settings_path=lambda: Path.home() / ".factory" / "settings.json",
        changes=_droid_changes,
        needs_file=True,
        hint=lambda target: f"droid, and choose {target.model} (Corral) with /model",
    ),
    Agent(
        "copilot",
        "Copilot CLI",
        "copilot",
        "https://docs.github.com/en/copilot/how-tos/set-up/install-copilot-cli",
        "npm install -g @github/copilot",
        aliases=("copilot-cli",),
        env=_copilot_env,
    ),
    Agent(
        "qwen",
        "Qwen Code",
        "qwen",
        "https://qwenlm.github.io/qwen-code-docs/",
        "npm install -g @qwen-code/qwen-code",
        env=_qwen_env,
    ),
)
# Names that the original launches and Corral cannot set up.
UNSUPPORTED = frozenset(
    "chatgpt codex-app codex-desktop codex-gui hermes openclaw clawdbot moltbot hermes-desktop omp dsh "
    "deepseek-harness kimi muse muse-code pi pool vscode code claude-desktop claude-app".split()
)


def find_agent(name: str) -> Agent | None:
    return next((agent for agent in AGENTS if name == agent.name or name in agent.aliases), None)
