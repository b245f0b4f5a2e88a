"""The chat template and its rendering, as a server renders it.

Invariant: training and scoring see the prompt exactly as the template inside the GGUF writes it.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

__all__ = ["load_template", "render_prompt"]

_SORTED, _COMPACT, _PLAIN = "sorted", "compact", "plain"


def load_template() -> str:
    """Read the Jinja text that goes into the GGUF."""
    return (Path(__file__).parent / "template.jinja").read_text(encoding="utf-8")


@cache
def _compiled(json_style: str) -> jinja2.Template:
    def dump(value: Any) -> str:
        if json_style == _COMPACT:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return json.dumps(value, ensure_ascii=False, sort_keys=json_style == _SORTED)

    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = dump
    return environment.from_string(load_template())


def render_prompt(
    messages: list[dict[str, Any]],
    tools: list[dict[str, Any]] | None = None,
    *,
    enable_thinking: bool = False,
    json_style: str = _PLAIN,
) -> str:
    """Render messages with a generation prompt.

    `json_style` is "plain", "compact" or "sorted": servers differ in how they write JSON, so training sees all three.
    """
    return _compiled(json_style).render(
        messages=messages, tools=tools, add_generation_prompt=True, enable_thinking=enable_thinking
    )
