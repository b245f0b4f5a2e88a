"""The coding agents that `launch` knows.

An agent that takes all it needs from its environment or arguments is started with those, and no file is touched.
`settings` are for `launch --config`, or for agents that read nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from corral.cli.agents import agent_settings as told
from corral.cli.agents.agent_settings import Target
from corral.cli.agents.foreign_settings import Change

__all__ = ["AGENTS", "UNSUPPORTED", "Agent", "Target", "find_agent"]


def _nothing(_target: Target) -> dict[str, str]:
    return {}


def _no_words(_target: Target) -> list[str]:
    return []


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent. `settings_path` None: it has no file; `changes` or `toml` is what goes into the file.

    `files` are files of a launch by their path in `Target.folder`: they are ours, and no file of the person's.

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
    files: Callable[[Target], dict[str, str]] | None = None
    needs_file: bool = False
    hint: Callable[[Target], str] | None = None


def _vscode_folder() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "Code" / "User"
    return told.user_folder("XDG_CONFIG_HOME", ".config") / "Code" / "User"


AGENTS: tuple[Agent, ...] = (
    Agent(
        "claude",
        "Claude Code",
        "claude",
        "https://code.claude.com/docs/en/quickstart",
        "npm install -g @anthropic-ai/claude-code",
        env=told.claude_env,
        words=lambda target: ["--model", target.model],
        settings_path=lambda: told.user_folder("CLAUDE_CONFIG_DIR", ".claude") / "settings.json",
        changes=told.claude_changes,
    ),
    Agent(
        "codex",
        "Codex",
        "codex",
        "https://developers.openai.com/codex/cli/",
        "npm install -g @openai/codex",
        words=told.codex_words,
        settings_path=lambda: told.user_folder("CODEX_HOME", ".codex") / "config.toml",
        toml=told.codex_toml,
        hint=lambda target: f"codex -c model_provider=corral -m {target.model}",
    ),
    Agent(
        "opencode",
        "OpenCode",
        "opencode",
        "https://opencode.ai",
        "npm install -g opencode-ai",
        env=told.opencode_env,
        settings_path=lambda: told.user_folder("XDG_CONFIG_HOME", ".config") / "opencode" / "opencode.json",
        changes=told.opencode_changes,
    ),
    Agent(
        "cline",
        "Cline",
        "cline",
        "https://cline.bot/cli",
        "npm install -g cline",
        settings_path=lambda: Path.home() / ".cline" / "data" / "globalState.json",
        changes=told.cline_changes,
        needs_file=True,
    ),
    Agent(
        "droid",
        "Droid",
        "droid",
        "https://docs.factory.ai/cli/getting-started/quickstart",
        settings_path=lambda: Path.home() / ".factory" / "settings.json",
        changes=told.droid_changes,
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
        env=told.copilot_env,
    ),
    Agent(
        "qwen",
        "Qwen Code",
        "qwen",
        "https://qwenlm.github.io/qwen-code-docs/",
        "npm install -g @qwen-code/qwen-code",
        env=told.qwen_env,
    ),
    Agent(
        "kimi",
        "Kimi Code CLI",
        "kimi",
        "https://code.kimi.com",
        words=told.kimi_words,
    ),
    Agent(
        "muse",
        "Muse Code",
        "muse",
        "https://dev.meta.ai",
        aliases=("muse-code",),
        env=told.muse_env,
        files=told.muse_files,
    ),
    Agent(
        "omp",
        "OMP",
        "omp",
        "https://omp.sh",
        env=told.omp_env,
        words=lambda target: ["--model", f"ollama/{target.model}"],
    ),
    Agent(
        "pi",
        "Pi",
        "pi",
        "https://pi.dev",
        "npm install -g @mariozechner/pi-coding-agent",
        words=lambda target: ["--provider", "corral", "--model", target.model],
        settings_path=lambda: told.user_folder("PI_CODING_AGENT_DIR", ".pi", "agent") / "models.json",
        changes=told.pi_changes,
        needs_file=True,
        hint=lambda target: f"pi --provider corral --model {target.model}",
    ),
    Agent(
        "pool",
        "Pool",
        "pool",
        "https://github.com/poolsideai/pool",
        env=told.pool_env,
        words=lambda target: ["-m", target.model],
    ),
    Agent(
        "dsh",
        "DeepSeek Harness",
        "dsh",
        "https://www.npmjs.com/package/@deepseek-ai/dsh",
        "npm install -g @deepseek-ai/dsh",
        aliases=("deepseek-harness",),
        env=told.dsh_env,
        words=told.dsh_words,
        files=told.dsh_files,
    ),
    Agent(
        "talos",
        "Talos",
        "talos",
        "https://talos-agent.ch",
        env=told.talos_env,
        words=lambda _target: ["chat"],
    ),
    Agent(
        "vscode",
        "VS Code",
        "code",
        "https://code.visualstudio.com",
        aliases=("code",),
        settings_path=lambda: _vscode_folder() / "chatLanguageModels.json",
        changes=told.vscode_changes,
        needs_file=True,
        hint=lambda target: (
            f"code, and choose {target.model} in the model picker of Copilot Chat (Other models)"
        ),
    ),
)
# Programs that Ollama launches and Corral does not, and what to enter in them. They keep their settings in files that
# cannot be changed without loss (YAML with comments, JSON5, databases), need a daemon, or are not made for Linux.
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
