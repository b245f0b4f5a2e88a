"""Puts `[img-N]` tags into messages, where the engine's media markers will be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from corral.types import Message

__all__ = ["insert_image_tags"]


def insert_image_tags(messages: Sequence[Message], *, separator: bool) -> list[Message]:
    """Number the pictures of all messages from 0 and place a tag for each.

    A tag takes the place of the first `[img]` in its message, or goes before the text. With `separator` (the rule
    of built-in renderers) tags before a visible text are followed by a blank, and a text that has tags already is
    left alone; without it (the rule of Go templates) neither.
    """
    tagged, number = [], 0
    for message in messages:
        content, prefix = message.content, ""
        is_done = separator and "[img-" in content
        for _ in message.images:
            tag = f"[img-{number}]"
            number += 1
            if is_done:
                continue
            if "[img]" in content:
                content = content.replace("[img]", tag, 1)
            else:
                prefix += tag
        if prefix and separator and content and not content[0].isspace():
            prefix += " "
        tagged.append(replace(message, content=prefix + content) if message.images else message)
    return tagged
