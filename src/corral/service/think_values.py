"""What `think` may be for a model, as `/api/show` tells it (Ollama from 0.34.3 on)."""

from __future__ import annotations

from typing import Any

from corral.service.profile import ModelProfile
from corral.types import Think

__all__ = ["thinking_member"]

_SWITCH: tuple[Think, ...] = (True, False)
_LEVELS: tuple[Think, ...] = ("low", "medium", "high")
_DEFAULT_LEVEL = "medium"


def thinking_member(profile: ModelProfile) -> dict[str, Any] | None:
    """The values that make a difference, and what counts when a request says nothing; None: it does not think."""
    if "thinking" not in profile.capabilities:
        return None
    values = _values(profile)
    return {"values": list(values), "default": True if True in values else _DEFAULT_LEVEL}


def _values(profile: ModelProfile) -> tuple[Think, ...]:
    if profile.is_harmony or (profile.parser is not None and profile.parser.name == "harmony"):
        return _LEVELS
    if profile.renderer is not None:
        return profile.renderer.think_values
    if profile.path == "jinja":
        source = profile.chat_template.source if profile.chat_template is not None else ""
        has_levels, has_switch = "reasoning_effort" in source, "enable_thinking" in source
    else:
        variables = profile.template.variables()
        has_levels = "thinklevel" in variables
        has_switch = "think" in variables or "isthinkset" in variables
    if not has_levels:
        return _SWITCH
    return (*_SWITCH, *_LEVELS) if has_switch else _LEVELS
