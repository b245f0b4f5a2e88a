"""The body of `/v1/systemone`: typed questions about a state. Ollama: docs/capabilities/decision."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from corral.api.reading import decode
from corral.api.reading.jsonread import JSONObject, plain, read_members
from corral.errors import InvalidRequestError
from corral.golang.quote import quoted
from corral.inference.decision import DecisionRequest
from corral.types import Option, Question

MAX_QUESTIONS = 64
_CONTENT = "must be a string, object, or array"
# White space between the parts of JSON; strings are passed over.
_OUTSIDE_STRINGS = re.compile(r'("(?:[^"\\]|\\.)*")|\s+', re.DOTALL)


class _Given(NamedTuple):
    """A value and its own JSON text."""

    value: Any
    text: str


def _given(_decoding: decode.Decoding, value: Any, _path: str, text: str) -> _Given:
    return _Given(value, text)


def _questions(decoding: decode.Decoding, value: Any, path: str, text: str) -> list[_Given] | None:
    if not isinstance(value, JSONObject):
        decoding.mismatch(value, path, "map[string]decision.Question")
        return None
    # As in any Go map the last of equal names counts, in the place of the first.
    found = {name: _Given(member, own) for name, member, own in _members(text)}
    return [_Given(name, own.text) for name, own in found.items()]


def _members(text: str) -> list[tuple[str, Any, str]]:
    return read_members(text.encode("utf-8", "replace"), "decision.Question", max_depth=500)


SYSTEMONE: dict[str, decode.Decode] = {
    "model": decode.string,
    "state": _given,
    "images": decode.strings,
    "questions": _questions,
    "keep_alive": decode.keep_alive,
}


def read_systemone(body: bytes, max_depth: int) -> DecisionRequest:
    """The request; what depends on the model is checked later.

    Raises:
        InvalidRequestError
    """
    values = decode.decode_request(body, "Request", SYSTEMONE, max_depth=max_depth, package="decision")
    model = values.get("model", "")
    if not model.strip():
        raise InvalidRequestError("model is required")
    given = values.get("questions", [])
    if not 1 <= len(given) <= MAX_QUESTIONS:
        raise InvalidRequestError(f"questions must contain 1–{MAX_QUESTIONS} fields")
    state: _Given | None = values.get("state")
    try:
        text = None if state is None else _content(state)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"state: {error}") from None
    return DecisionRequest(
        model=model,
        state=text,
        questions=tuple(_question(name, own) for name, own in given),
        images=tuple(_image(image) for image in values.get("images", ())),
        keep_alive_ns=values.get("keep_alive"),
        wire=body,
    )


def _content(given: _Given) -> str:
    """A text as it is, an object or a list as compact JSON.

    Raises:
        InvalidRequestError: neither.
    """
    if isinstance(given.value, str):
        return str(plain(given.value))
    if not isinstance(given.value, list):
        raise InvalidRequestError(_CONTENT)
    return _OUTSIDE_STRINGS.sub(lambda match: match[1] or "", given.text)


def _image(text: str) -> bytes:
    try:
        content = decode.decode_base64(text)
    except InvalidRequestError:
        content = b""
    if not decode.is_image(content):
        raise InvalidRequestError("images must be base64-encoded PNG, JPEG, or WebP files")
    return content


def _question(name: str, text: str) -> Question:
    try:
        return _read_question(name, text)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"question {quoted(name)}: {error}") from None


def _read_question(name: str, text: str) -> Question:
    if not name.strip():
        raise InvalidRequestError("field name must not be empty")
    if not text.startswith("{"):
        raise InvalidRequestError("must be an object")
    members = {key.lower(): _Given(value, own) for key, value, own in _members(text)}
    instructions = members.get("instructions", _Given(None, ""))
    try:
        description = _content(instructions)
    except InvalidRequestError:
        description = ""
    if not description.strip():
        raise InvalidRequestError("instructions must be a nonempty string, object, or array")
    kind = members.get("type", _Given("", "")).value
    criteria = members.get("criteria", _Given(None, "")).value
    if kind == "noul":
        return Question(name, "noul", description, _noul_options(criteria))
    if kind == "choice":
        return Question(name, "choice", description, _choice_options(criteria))
    if kind == "score":
        return Question(name, "score", description, _score_options(criteria))
    raise InvalidRequestError("type must be choice, noul, or score")


def _noul_options(criteria: Any) -> tuple[Option, ...]:
    if criteria is not None and not isinstance(criteria, JSONObject):
        raise InvalidRequestError("noul criteria must be an object of true/false descriptions")
    descriptions: dict[str, Any] = {"false": "No", "true": "Yes"}
    for key, value in criteria or ():
        if key not in descriptions:
            raise InvalidRequestError(f"unknown noul criterion {quoted(key)}")
        if value is not None:
            descriptions[key] = _description(value, "noul descriptions must be strings")
    return Option(False, descriptions["false"]), Option(True, descriptions["true"])


def _choice_options(criteria: Any) -> tuple[Option, ...]:
    text = "choice criteria must map option keys to descriptions or null"
    if not isinstance(criteria, JSONObject):
        raise InvalidRequestError(text)
    if any(not key.strip() for key, _ in criteria):
        raise InvalidRequestError("choice keys must not be empty")
    given = {str(plain(key)): value for key, value in criteria}
    return tuple(
        Option(key, key if value is None else _description(value, text)) for key, value in given.items()
    )


def _score_options(criteria: Any) -> tuple[Option, ...]:
    if not isinstance(criteria, list) or isinstance(criteria, JSONObject):
        raise InvalidRequestError("score criteria must be an array of descriptions")
    text = "score descriptions must be strings"
    return tuple(Option(str(i), _description(value, text)) for i, value in enumerate(criteria))


def _description(value: Any, text: str) -> Any:
    """What an option means: a text, or an object or a list, whose members are shown sorted."""
    if isinstance(value, str):
        return plain(value)
    if not isinstance(value, list):
        raise InvalidRequestError(text)
    return json.loads(json.dumps(plain(value), sort_keys=True))
