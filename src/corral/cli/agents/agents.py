"""The coding agents that `launch` supports.

An agent that can be configured by environment or arguments is started that way, and no file is changed. Its settings
file is written for `launch --config`, or if it reads nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from corral.cli.agents import agent_settings
from corral.cli.agents.agent_settings import Target
from corral.cli.agents.foreign_settings import Change

__all__ = ["AGENTS", "UNSUPPORTED", "Agent", "Target", "find_agent"]


def _nothing(_target: Target) -> dict[str, str]:
    return {}


def _no_words(_target: Target) -> list[str]:
    return []


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent. `settings_path` None: it has no settings file; `changes` or `toml` is what goes into the file.

    `files` are written for a launch, by their path in `Target.folder`; they are never the user's own files.

    `needs_file`: `env` and `words` are not enough to configure it. `hint` says how to start it once configured.
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
    files: Callable[[Target], dict[str, str]] | None = None
    needs_file: bool = False
    hint: Callable[[Target], str] | None = None


def _vscode_folder() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "Code" / "User"
    return agent_settings.user_folder("XDG_CONFIG_HOME", ".config") / "Code" / "User"


AGENTS: tuple[Agent, ...] = (
    Agent(
        "claude",
        "Claude Code",
        "claude",
        "https://code.claude.com/docs/en/quickstart",
        "npm install -g @anthropic-ai/claude-code",
        env=agent_settings.claude_env,
        words=lambda target: ["--model", target.model],
        settings_path=lambda: agent_settings.user_folder("CLAUDE_CONFIG_DIR", ".claude") / "settings.json",
        changes=agent_settings.claude_changes,
    ),
    Agent(
        "codex",
        "Codex",
        "codex",
        "https://developers.openai.com/codex/cli/",
        "npm install -g @openai/codex",
        words=agent_settings.codex_words,
        settings_path=lambda: agent_settings.user_folder("CODEX_HOME", ".codex") / "config.toml",
        toml=agent_settings.codex_toml,
        hint=lambda target: f"codex -c model_provider=corral -m {target.model}",
    ),
    Agent(
        "opencode",
        "OpenCode",
        "opencode",
        "https://opencode.ai",
        "npm install -g opencode-ai",
        env=agent_settings.opencode_env,
        settings_path=lambda: (
            agent_settings.user_folder("XDG_CONFIG_HOME", ".config") / "opencode" / "opencode.json"
        ),
        changes=agent_settings.opencode_changes,
    ),
    Agent(
        "cline",
        "Cline",
        "cline",
        "https://cline.bot/cli",
        "npm install -g cline",
        settings_path=lambda: Path.home() / ".cline" / "data" / "globalState.json",
        changes=agent_settings.cline_changes,
        needs_file=True,
    ),
    Agent(
        "droid",
        "Droid",
        "droid",
        "https://docs.factory.ai/cli/getting-started/quickstart",
        settings_path=lambda: Path.home() / ".factory" / "settings.json",
        changes=agent_settings.droid_changes,
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
        env=agent_settings.copilot_env,
    ),
    Agent(
        "qwen",
        "Qwen Code",
        "qwen",
        "https://qwenlm.github.io/qwen-code-docs/",
        "npm install -g @qwen-code/qwen-code",
        env=agent_settings.qwen_env,
    ),
    Agent(
        "kimi",
        "Kimi Code CLI",
        "kimi",
        "https://code.kimi.com",
        words=agent_settings.kimi_words,
    ),
    Agent(
        "muse",
        "Muse Code",
        "muse",
        "https://dev.meta.ai",
        aliases=("muse-code",),
        env=agent_settings.muse_env,
        files=agent_settings.muse_files,
    ),
    Agent(
        "omp",
        "OMP",
        "omp",
        "https://omp.sh",
        env=agent_settings.omp_env,
        words=lambda target: ["--model", f"ollama/{target.model}"],
    ),
    Agent(
        "pi",
        "Pi",
        "pi",
        "https://pi.dev",
        "npm install -g @mariozechner/pi-coding-agent",
        words=lambda target: ["--provider", "corral", "--model", target.model],
        settings_path=lambda: (
            agent_settings.user_folder("PI_CODING_AGENT_DIR", ".pi", "agent") / "models.json"
        ),
        changes=agent_settings.pi_changes,
        needs_file=True,
        hint=lambda target: f"pi --provider corral --model {target.model}",
    ),
    Agent(
        "pool",
        "Pool",
        "pool",
        "https://github.com/poolsideai/pool",
        env=agent_settings.pool_env,
        words=lambda target: ["-m", target.model],
    ),
    Agent(
        "dsh",
        "DeepSeek Harness",
        "dsh",
        "https://www.npmjs.com/package/@deepseek-ai/dsh",
        "npm install -g @deepseek-ai/dsh",
        aliases=("deepseek-harness",),
        env=agent_settings.dsh_env,
        words=agent_settings.dsh_words,
        files=agent_settings.dsh_files,
    ),
    Agent(
        "talos",
        "Talos",
        "talos",
        "https://talos-agent.ch",
        env=agent_settings.talos_env,
        words=lambda _target: ["chat"],
    ),
    Agent(
        "vscode",
        "VS Code",
        "code",
        "https://code.visualstudio.com",
        aliases=("code",),
        settings_path=lambda: _vscode_folder() / "chatLanguageModels.json",
        changes=agent_settings.vscode_changes,
        needs_file=True,
        hint=lambda target: (
            f"code, and choose {target.model} in the model picker of Copilot Chat (Other models)"
        ),
    ),
)
# Programs that Ollama launches and Corral does not, and how to configure them by hand. Their settings are in files
# that cannot be changed without loss (YAML with comments, JSON5, databases), or they need a daemon or another system.
UNSUPPORTED: dict[str, str] = {
    **dict.fromkeys(
        ("openclaw", "clawdbot", "moltbot"),
        "openclaw config set models.providers.ollama.baseUrl {url}, the same with apiKey corral and api ollama, then "
        "openclaw models set ollama/MODEL",
    ),
    **dict.fromkeys(
        ("hermes", "hermes-desktop"),
        "hermes model, then More providers, Custom endpoint: {url}/v1, any key",
    ),
    **dict.fromkeys(
        ("chatgpt", "codex-app", "codex-desktop", "codex-gui"),
        "it shares the settings of Codex: corral launch codex --config",
    ),
    **dict.fromkeys(
        ("claude-desktop", "claude-app"),
        "in its developer settings, set a gateway for third-party inference: {url}, any key",
    ),
}


def find_agent(name: str) -> Agent | None:
    return next((agent for agent in AGENTS if name == agent.name or name in agent.aliases), None)
