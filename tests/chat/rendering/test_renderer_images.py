"""Image tags; the rows without a separator are recorded from a real Ollama server, as are the first two with one."""

from __future__ import annotations

import pytest

from corral.chat.rendering.images import insert_image_tags
from corral.types import Message


def _tagged(rows: list[tuple[str, int]], *, separator: bool) -> list[str]:
    messages = [Message("user", content, images=(b"i",) * count) for content, count in rows]
    return [message.content for message in insert_image_tags(messages, separator=separator)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [("What is [img] in here, and this?", 2), ("Two dots.", 0), ("And now?", 1)],
            ["[img-1]What is [img-0] in here, and this?", "Two dots.", "[img-2]And now?"],
        ),
        (
            [("s", 0), ("[img] then [img] then [img]", 2), ("see", 1), ("", 1)],
            ["s", "[img-0] then [img-1] then [img]", "[img-2]see", "[img-3]"],
        ),
        ([("a", 1), ("b [img]", 1), ("c", 0)], ["[img-0]a", "b [img-1]", "c"]),
        ([("two [img] three [img] four", 3)], ["[img-2]two [img-0] three [img-1] four"]),
    ],
)
def test_template_rule(rows: list[tuple[str, int]], expected: list[str]) -> None:
    """Placeholders are filled in order, the remaining tags stand in front without a space."""
    assert _tagged(rows, separator=False) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [("What is [img] in here, and this?", 2), ("Two dots.", 0), ("And now?", 1)],
            ["[img-1] What is [img-0] in here, and this?", "Two dots.", "[img-2] And now?"],
        ),
        ([("A [img] B", 2), ("ok", 0), ("C", 1)], ["[img-1] A [img-0] B", "ok", "[img-2] C"]),
        ([("", 2)], ["[img-0][img-1]"]),
        ([("\nx", 1), (" y", 1)], ["[img-0]\nx", "[img-1] y"]),
        ([("see [img-7]", 2), ("z", 1)], ["see [img-7]", "[img-2] z"]),
        ([("[img]", 1)], ["[img-0]"]),
    ],
)
def test_renderer_rule(rows: list[tuple[str, int]], expected: list[str]) -> None:
    """Tags in front are set off by a space, a text with tags is left alone but counts."""
    assert _tagged(rows, separator=True) == expected


def test_other_fields_are_kept() -> None:
    """Only the text changes."""
    message = Message("tool", "r", thinking="t", images=(b"i",), tool_name="n", tool_call_id="c")
    (tagged,) = insert_image_tags([message], separator=True)
    assert tagged == Message(
        "tool", "[img-0] r", thinking="t", images=(b"i",), tool_name="n", tool_call_id="c"
    )
