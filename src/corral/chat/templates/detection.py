"""Which built-in Go template belongs to the chat template of a model file.

The texts of published chat templates are compared by edit distance, counted in code points; the nearest below
MAX_DISTANCE wins, the first of equals. Ollama: template/template.go, Named. Distances are computed bit-parallel
(Myers 1999, Hyyrö 2003), and not at all for texts whose lengths differ too much, so that no file can make this slow.
"""

from __future__ import annotations

from corral.chat.templates.builtin import BuiltinTemplate, builtin_template, known_chat_templates

__all__ = ["MAX_DISTANCE", "BuiltinTemplate", "detect", "edit_distance"]

MAX_DISTANCE = 100


def edit_distance(left: str, right: str) -> int:
    """Count the insertions, deletions and replacements of characters that turn one text into the other."""
    if not left or not right:
        return len(left) + len(right)
    positions: dict[str, int] = {}
    for i, char in enumerate(left):
        positions[char] = positions.get(char, 0) | (1 << i)
    mask, last = (1 << len(left)) - 1, 1 << (len(left) - 1)
    # Bit i of `rises` and `falls`: the column of distances steps up or down from row i to row i + 1.
    rises, falls, distance = mask, 0, len(left)
    for char in right:
        equal = positions.get(char, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal
        vertical = equal | falls
        up = falls | (~(diagonal | rises) & mask)
        down = rises & diagonal
        distance += bool(up & last) - bool(down & last)
        up = (up << 1) | 1
        down <<= 1
        rises = (down | ~(vertical | up)) & mask
        falls = up & vertical & mask
    return distance


def detect(chat_template: str) -> BuiltinTemplate | None:
    """Find the built-in template of a Jinja chat template; None when no known text is near."""
    nearest, nearest_distance = "", MAX_DISTANCE
    for known in known_chat_templates():
        if abs(len(known.text) - len(chat_template)) >= nearest_distance:
            continue
        distance = edit_distance(known.text, chat_template)
        if distance < nearest_distance:
            nearest, nearest_distance = known.name, distance
    return builtin_template(nearest) if nearest else None
