"""What is kept of a request: its input items, each complete and with an id; and pages of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

from corral.api.openai.encode import id_digits
from corral.errors import InvalidRequestError

Item = dict[str, Any]
_ID_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
_MAX_LIMIT = 100


def referenced_ids(items: Sequence[Any]) -> list[str]:
    """The ids of kept items that stand in an input instead of the items themselves."""
    return [str(item.get("id", "")) for item in items if _is_reference(item)]


def with_references(items: Sequence[Any], found: Sequence[Item]) -> tuple[Any, ...]:
    """An input with the items that it refers to, `found` in the order of `referenced_ids`."""
    replacements = iter(found)
    return tuple(next(replacements) if _is_reference(item) else item for item in items)


def _is_reference(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "item_reference"


def kept_input(items: Sequence[Any]) -> tuple[Item, ...]:
    """Input items in the form in which they are listed."""
    return tuple(_complete(item) for item in items)


def _complete(item: Item) -> Item:
    kind = str(item.get("type") or "message")
    complete = {
        "id": f"{_ID_PREFIXES.get(kind, 'item')}_{id_digits()}",
        "type": kind,
        **item,
    }
    if kind == "message" and isinstance(item.get("content"), str):
        part = "output_text" if item.get("role") == "assistant" else "input_text"
        complete["content"] = [{"type": part, "text": item["content"]}]
        if part == "output_text":
            complete["content"][0]["annotations"] = []
    if kind in ("message", "function_call", "function_call_output"):
        complete.setdefault("status", "completed")
    return complete


def page_of(items: Sequence[Item], query: bytes) -> Item:
    """A page of items as a list object: `order` (desc), `limit` (20), `after` an id.

    Raises:
        InvalidRequestError: a limit that is none.
    """
    wanted = {name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()}
    ordered = list(items) if wanted.get("order") == "asc" else list(items)[::-1]
    limit_text = wanted.get("limit", "20")
    limit = int(limit_text) if limit_text.isascii() and limit_text.isdigit() else 0
    if not 1 <= limit <= _MAX_LIMIT:
        raise InvalidRequestError(f"limit must be a number from 1 to {_MAX_LIMIT}")
    if after := wanted.get("after"):
        position = next((i for i, item in enumerate(ordered) if item.get("id") == after), len(ordered))
        ordered = ordered[position + 1 :]
    page = ordered[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0].get("id") if page else None,
        "last_id": page[-1].get("id") if page else None,
        "has_more": len(ordered) > len(page),
    }
