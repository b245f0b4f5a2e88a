"""What `think` may be for a model, as `/api/show` tells it.

Ollama from 0.34.3 on has it for built-in renderers, gpt-oss and a few templates by their digest; here templates are
looked at.
"""

from __future__ import annotations

from typing import Any

from corral.inference.profile import ModelProfile


def thinking_member(profile: ModelProfile) -> dict[str, Any] | None:
    """The values that make a difference, and what counts when a request says nothing; None: it does not think."""
    if "thinking" not in profile.capabilities:
        return None
    values, default = profile.chat.think_values()
    return {"values": list(values), "default": default}
