"""Where the images of a conversation stand in its prompt: `[img-N]` tags in the message texts.

The engine later puts its media marker in place of each tag; images are numbered from 0 over all the messages given,
which are the ones that a truncated conversation keeps.
Source: ollama: server/prompt.go, model/renderers/image_tags.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from corral.types import Message

_PLACEHOLDER = "[img]"
_TAG_START = "[img-"


def insert_image_tags(messages: Sequence[Message], *, separator: bool) -> list[Message]:
    """Give every image its tag: in place of the next literal `[img]` of its message, else in front of the text.

    `separator` follows the rule of built-in renderers: tags in front of a text are set off by a space, and a text
    that has tags already stays as it is. Without it (Go templates) no space is added and every text gets its tags.
    """
    out: list[Message] = []
    number = 0
    for message in messages:
        first, number = number, number + len(message.images)
        if not message.images or (separator and _TAG_START in message.content):
            out.append(message)
            continue
        content = message.content
        prefix = ""
        for image in range(first, number):
            tag = f"{_TAG_START}{image}]"
            if _PLACEHOLDER in content:
                content = content.replace(_PLACEHOLDER, tag, 1)
            else:
                prefix += tag
        if separator and prefix and content and not content[0].isspace():
            prefix += " "
        out.append(replace(message, content=prefix + content))
    return out
