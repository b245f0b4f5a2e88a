"""How each coding agent is pointed at the server: variables, arguments, settings. Sources: their documentation."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from corral.cli.agents.foreign_settings import Change


@dataclass(frozen=True, slots=True)
class Target:
    """The server and the model. `url` has no trailing slash; `key` is the API key to send.

    `context_tokens`: the context length as far as known; `folder`: for files of launches of this agent.
    """

    url: str
    model: str
    key: str = "ollama"
    key_variable: str = ""
    context_tokens: int = 32_768
    folder: Path = Path()

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"


def user_folder(variable: str, *default: str) -> Path:
    return Path(os.environ.get(variable) or Path.home().joinpath(*default))


def claude_env(target: Target) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": target.url,
        "ANTHROPIC_API_KEY": "",
        "ANTHROPIC_AUTH_TOKEN": target.key,
        "ANTHROPIC_MODEL": target.model,
        "ANTHROPIC_DEFAULT_OPUS_MODEL": target.model,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": target.model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": target.model,
    }


def claude_changes(target: Target) -> list[Change]:
    return [(("env", name), value) for name, value in claude_env(target).items()]


def _codex_provider(target: Target) -> list[tuple[str, str]]:
    pairs = [("name", "Corral"), ("base_url", target.openai_url), ("wire_api", "responses")]
    return [*pairs, ("env_key", target.key_variable)] if target.key_variable else pairs


def codex_words(target: Target) -> list[str]:
    # As arguments, which all versions accept; profiles have moved between files.
    table = ", ".join(f"{name} = {json.dumps(value)}" for name, value in _codex_provider(target))
    overrides = ['model_provider="corral"', f"model_providers.corral={{{table}}}"]
    return [*(word for text in overrides for word in ("-c", text)), "-m", target.model]


def codex_toml(target: Target) -> tuple[tuple[str, ...], str]:
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in _codex_provider(target))
    return ("model_providers", "corral"), f"[model_providers.corral]\n{lines}"


def _opencode_provider(target: Target) -> dict[str, object]:
    return {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Corral",
        "options": {"baseURL": target.openai_url, "apiKey": target.key},
        "models": {target.model: {"name": target.model}},
    }


def opencode_env(target: Target) -> dict[str, str]:
    config = {"model": f"corral/{target.model}", "provider": {"corral": _opencode_provider(target)}}
    return {"OPENCODE_CONFIG_CONTENT": json.dumps({"$schema": "https://opencode.ai/config.json", **config})}


def opencode_changes(target: Target) -> list[Change]:
    return [
        (("provider", "corral"), _opencode_provider(target)),
        (("model",), f"corral/{target.model}"),
    ]


def cline_changes(target: Target) -> list[Change]:
    values: dict[str, object] = {"ollamaBaseUrl": target.url, "welcomeViewCompleted": True}
    for mode in ("act", "plan"):
        values |= {f"{mode}ModeApiProvider": "ollama", f"{mode}ModeOllamaModelId": target.model}
    return [((name,), value) for name, value in values.items()]


def droid_changes(target: Target) -> list[Change]:
    entry = {
        "id": "custom:corral",
        "model": target.model,
        "displayName": f"{target.model} (Corral)",
        "baseUrl": target.openai_url,
        "apiKey": target.key,
        "provider": "generic-chat-completion-api",
    }
    return [(("customModels", "id=custom:corral"), entry)]


def copilot_env(target: Target) -> dict[str, str]:
    return {
        "COPILOT_PROVIDER_BASE_URL": target.openai_url,
        "COPILOT_PROVIDER_API_KEY": target.key,
        "COPILOT_PROVIDER_WIRE_API": "responses",
        "COPILOT_MODEL": target.model,
    }


def qwen_env(target: Target) -> dict[str, str]:
    return {
        "OPENAI_API_KEY": target.key,
        "OPENAI_BASE_URL": target.openai_url,
        "OPENAI_MODEL": target.model,
    }


def pi_changes(target: Target) -> list[Change]:
    provider = {
        "baseUrl": target.openai_url,
        "api": "openai-completions",
        "apiKey": target.key,
        "models": [{"id": target.model, "contextWindow": target.context_tokens}],
    }
    return [(("providers", "corral"), provider)]


def omp_env(target: Target) -> dict[str, str]:
    return {"OLLAMA_BASE_URL": target.url}


def pool_env(target: Target) -> dict[str, str]:
    return {"POOLSIDE_STANDALONE_BASE_URL": target.openai_url, "POOLSIDE_API_KEY": target.key}


def talos_env(target: Target) -> dict[str, str]:
    return {
        "TALOS_MODEL_PROVIDER": "openai-api",
        "TALOS_BASE_URL_OPENAI_API": target.openai_url,
        "TALOS_MODEL": target.model,
    }


def kimi_words(target: Target) -> list[str]:
    config = {
        "default_model": "corral",
        "providers": {
            "corral": {"type": "openai_legacy", "base_url": target.openai_url, "api_key": target.key}
        },
        "models": {
            "corral": {
                "provider": "corral",
                "model": target.model,
                "max_context_size": target.context_tokens,
            }
        },
    }
    return ["--config", json.dumps(config)]


def muse_env(target: Target) -> dict[str, str]:
    # Its settings hold only one server, so the user's own stay untouched in another folder.
    return {"XDG_CONFIG_HOME": str(target.folder)}


def muse_files(target: Target) -> dict[str, str]:
    """Muse keeps its own settings in this folder too, and they are kept."""
    usual = user_folder("XDG_CONFIG_HOME", ".config") / "muse" / "settings.json"
    kept = _json_object(target.folder / "muse" / "settings.json") or _json_object(usual)
    row = {
        "model_id": target.model,
        "provider_id": "meta",
        "profile_id": "tbh",
        "display_label": target.model,
        "visibility": "visible",
        "display_order": 0,
        "is_default": True,
        "context_limit": target.context_tokens,
        "output_limit": target.context_tokens,
        "description": "Served by Corral",
    }
    ours = {
        "provider": "meta",
        "model": target.model,
        "endpoint_transport": {"base_url": target.openai_url, "auth": "none"},
        "model_catalog": [row],
    }
    return {"muse/settings.json": json.dumps({"schema_version": 1, **kept, **ours}, indent=2)}


def dsh_env(target: Target) -> dict[str, str]:
    return {"CORRAL_LAUNCH_DSH_KEY": target.key}


def dsh_words(target: Target) -> list[str]:
    return ["web", "--patch", str(target.folder / "corral.cordis.yml")]


def dsh_files(target: Target) -> dict[str, str]:
    """A settings document that replaces the user's for this launch only. JSON is valid YAML."""
    provider = {
        "displayName": "Corral",
        "apiKeyEnv": "CORRAL_LAUNCH_DSH_KEY",
        "api": "openai-completions",
        "baseURL": target.openai_url,
        "models": [
            {
                "id": target.model,
                "name": target.model,
                "input": ["text"],
                "contextWindow": target.context_tokens,
                "maxTokens": target.context_tokens,
            }
        ],
    }
    ours = {
        "agent-default-model": {"provider": "corral", "model": target.model},
        "llm-pi-ai": {"providers": {"corral": provider}},
    }
    path = target.folder / "settings.yaml"
    patch = [{"id": "settings", "config": {"path": str(path)}}]
    return {"settings.yaml": json.dumps(ours, indent=2), "corral.cordis.yml": json.dumps(patch, indent=2)}


def vscode_changes(target: Target) -> list[Change]:
    return [(("name=Corral",), {"vendor": "ollama", "name": "Corral", "url": target.url})]


def _json_object(path: Path) -> dict[str, object]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
