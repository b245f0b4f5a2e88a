"""The values of `think` that a model supports, as `/api/show` reports them.

Ollama has this since 0.34.3, for built-in renderers, gpt-oss and a few templates recognised by digest. Corral
inspects the template.
"""

from __future__ import annotations

from typing import Any

from corral.inference.profile import ModelProfile
from corral.types import Think

_SWITCH: tuple[Think, ...] = (False, True)
_LEVELS: tuple[Think, ...] = ("low", "medium", "high")
_DEFAULT_LEVEL: Think = "medium"


def thinking_member(profile: ModelProfile) -> dict[str, Any] | None:
    """The supported values and the default; None if the model does not think."""
    if "thinking" not in profile.capabilities:
        return None
    default: Think
    if profile.renderer is not None:
        values, default = profile.renderer.think_values, profile.renderer.think_default
    else:
        values = _LEVELS if _is_harmony(profile) else _template_values(profile)
        default = True if True in values else _DEFAULT_LEVEL
    return {"values": list(values), "default": default}


def _is_harmony(profile: ModelProfile) -> bool:
    return profile.is_harmony or (profile.parser is not None and profile.parser.name == "harmony")


def _template_values(profile: ModelProfile) -> tuple[Think, ...]:
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
