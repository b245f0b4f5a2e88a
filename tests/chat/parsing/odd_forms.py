"""Calls in odd forms, for every parser that reads calls: `python -m tests.chat.parsing.odd_forms` prints their table.

Every word of a reply is unique (`w1w`, `w2w` ...), so that lost text is seen.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from corral.chat.families.known import find_parser, parser_names
from tests.chat.parsing.cases import TOOLS, join, make_parser, run

__all__ = ["ENVELOPES", "FORMS", "Envelope", "envelope", "readers", "replies", "words_of"]

_OPEN_CALLS, _CLOSE_CALLS = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_OPEN_CALL, _CLOSE_CALL, _SEPARATOR = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"


@dataclass(frozen=True, slots=True)
class Envelope:
    """Where a family's calls stand, and how it writes one: from a name and the text of its arguments as JSON."""

    opening: str
    closing: str
    call: Callable[[str, str], str]
    before: str = ""

    def around(self, *bodies: str) -> str:
        return self.before + "".join(f"{self.opening}{body}{self.closing}" for body in bodies)

    def reply(self, name: str, arguments: str) -> str:
        return self.around(self.call(name, arguments))


def _json_call(name: str, arguments: str) -> str:
    return f'{{"name": "{name}", "arguments": {arguments}}}'


def _action(name: str, arguments: str) -> str:
    return f'[{{"tool_call_id": "0", "tool_name": "{name}", "parameters": {arguments}}}]'


def _values(arguments: str) -> Iterator[tuple[str, str]]:
    """The members of arguments as bare text; those that are not JSON are one member of odd text."""
    try:
        members = json.loads(arguments)
    except ValueError:
        members = {"city": arguments}
    for key, value in members.items() if isinstance(members, dict) else [("city", members)]:
        yield key, value if isinstance(value, str) else json.dumps(value)


def _xml(name: str, arguments: str) -> str:
    inner = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in _values(arguments))
    return f"\n<function={name}>\n{inner}</function>\n"


def _pairs(name: str, arguments: str) -> str:
    return name + "".join(
        f"\n<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>" for key, value in _values(arguments)
    )


def _atem(name: str, arguments: str) -> str:
    inner = "".join(
        f'<atem:parameter name="{key}">{value}</atem:parameter>\n' for key, value in _values(arguments)
    )
    return f'\n<atem:invoke name="{name}">\n{inner}</atem:invoke>\n'


def _gemma(delimiter: str) -> Callable[[str, str], str]:
    def write(name: str, arguments: str) -> str:
        inner = ",".join(f"{key}:{delimiter}{value}{delimiter}" for key, value in _values(arguments))
        return f"call:{name}{{{inner}}}"

    return write


def _python(name: str, arguments: str) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in _values(arguments))})"


_TAGGED = ("<tool_call>", "</tool_call>")
ENVELOPES = {
    "qwen3": Envelope(*_TAGGED, _json_call),
    "qwen3-thinking": Envelope(*_TAGGED, _json_call, "t</think>"),
    "qwen3-vl-instruct": Envelope(*_TAGGED, _json_call),
    "qwen3-vl-thinking": Envelope(*_TAGGED, _json_call, "t</think>"),
    "qwen3.5": Envelope(*_TAGGED, _xml, "t</think>"),
    "ornith": Envelope(*_TAGGED, _xml, "t</think>"),
    "tev1": Envelope(*_TAGGED, _xml, "t</think>"),
    "qwen3-coder": Envelope(*_TAGGED, _xml),
    "nemotron-3-nano": Envelope(*_TAGGED, _xml, "t</think>"),
    "nemotron-3.5-nano": Envelope(*_TAGGED, _xml, "t</think>"),
    "ministral": Envelope("[TOOL_CALLS]", "", lambda name, arguments: f"{name}[ARGS]{arguments}"),
    "harmony": Envelope(
        "<|start|>assistant<|channel|>commentary to=functions.",
        "<|end|>",
        lambda name, arguments: f"{name} <|constrain|>json<|message|>{arguments}",
    ),
    "cogito": Envelope(
        _OPEN_CALLS + _OPEN_CALL,
        _CLOSE_CALL + _CLOSE_CALLS,
        lambda name, arguments: f"function{_SEPARATOR}{name}\n```json\n{arguments}\n```",
    ),
    "deepseek3": Envelope(
        _OPEN_CALLS + _OPEN_CALL,
        _CLOSE_CALL + _CLOSE_CALLS,
        lambda name, text: f"{name}{_SEPARATOR}{text}",
        "t</think>",
    ),
    "olmo3": Envelope("<function_calls>", "</function_calls>", _python),
    "functiongemma": Envelope("<start_function_call>", "<end_function_call>", _gemma("<escape>")),
    "gemma4": Envelope("<|tool_call>", "<tool_call|>", _gemma('<|"|>')),
    "gemma4-no-thinking": Envelope("<|tool_call>", "<tool_call|>", _gemma('<|"|>')),
    "glm-4.7": Envelope(*_TAGGED, _pairs, "t</think>"),
    "glm-ocr": Envelope(*_TAGGED, _pairs),
    "lfm2": Envelope("<|tool_call_start|>", "<|tool_call_end|>", lambda n, a: f"[{_python(n, a)}]"),
    "lfm2-thinking": Envelope("<|tool_call_start|>", "<|tool_call_end|>", lambda n, a: f"[{_python(n, a)}]"),
    "laguna": Envelope(*_TAGGED, _pairs, "t</think>"),
    "poolside-v1": Envelope(*_TAGGED, _pairs, "t</think>"),
    "cohere": Envelope("<|START_ACTION|>", "<|END_ACTION|>", _action, "t<|END_THINKING|>"),
    "glimmer": Envelope(
        "<|start|>assistant to=get_weather<|message|><atem:function_calls>",
        "</atem:function_calls><|eom|>",
        _atem,
    ),
    "generic:<tool_call>": Envelope(*_TAGGED, _json_call),
    "generic:[TOOL_CALLS] [": Envelope("[TOOL_CALLS] [", "]", _json_call),
    "generic:{": Envelope("", "", _json_call),
    "generic:[": Envelope("[", "]", _json_call),
}
_NAME = "get_weather"
_ONE = '{"city": "w1w"}'


def readers() -> list[str]:
    """The parsers that read calls; each has an entry in `ENVELOPES`."""
    named = [name for name in parser_names() if (info := find_parser(name)) is not None and info.has_tools]
    return [*named, *(name for name in ENVELOPES if name.startswith("generic:"))]


def envelope(parser: str) -> Envelope:
    assert parser in ENVELOPES, f"add to ENVELOPES how a model of {parser} writes a call"
    return ENVELOPES[parser]


def _object(text: str) -> Callable[[Envelope], str]:
    """A JSON object in the tags, whatever the family's own form is."""
    return lambda e: e.around(text)


def _with(arguments: str) -> Callable[[Envelope], str]:
    """Arguments in the family's own form, as far as that is JSON."""
    return lambda e: e.reply(_NAME, arguments)


def _named(arguments: str) -> str:
    return f'{{"name": "get_weather", "arguments": {arguments}}}'


_DEEP = '{"o": ' * 300 + "1" + "}" * 300
FORMS: dict[str, Callable[[Envelope], str]] = {
    "as it should be": _with('{"city": "w1w", "days": 3}'),
    "raw line break in a string": _with('{"city": "w1w\nw2w"}'),
    "raw tab in a string": _with('{"city": "w1w\tw2w"}'),
    "trailing comma": _with('{"city": "w1w",}'),
    "trailing bracket": _with('{"city": "w1w"}}'),
    "missing bracket": _object('{"name": "get_weather", "arguments": {"city": "w1w"}'),
    "missing inner bracket": _object('{"name": "get_weather", "arguments": {"l": [1, 2, "city": "w1w"}}'),
    "missing closing tag": lambda e: e.before + e.opening + e.call(_NAME, _ONE),
    "missing closing tag, text": lambda e: e.before + e.opening + e.call(_NAME, _ONE) + "\n\nw2w w3w.",
    "Python's dict": _object("{'name': 'get_weather', 'arguments': {'city': 'w1w', 'ok': True, 'u': None}}"),
    "Python's arguments": _with("{'city': 'w1w', 'ok': True, 'u': None}"),
    "arguments as a string": _with('"{\\"city\\": \\"w1w\\"}"'),
    "arguments as a list": _with('["w1w", "w2w"]'),
    "arguments in a list": _with('[{"city": "w1w"}]'),
    "arguments as a word": _with('"w1w"'),
    "arguments null": _with("null"),
    "arguments empty": _with('""'),
    "no arguments": _object('{"name": "get"}'),
    "flat arguments": _object('{"name": "get_weather", "city": "w1w"}'),
    "parameters": _object('{"name": "get_weather", "parameters": {"city": "w1w"}}'),
    "in function": _object('{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "w1w"}}}'),
    "several objects": _object(_named(_ONE) + "\n" + _named('{"city": "w2w"}')),
    "list of objects": _object("[" + _named(_ONE) + ", " + _named('{"city": "w2w"}') + "]"),
    "two calls": lambda e: e.around(e.call(_NAME, _ONE), e.call(_NAME, '{"city": "w2w"}')),
    "second call broken": lambda e: e.around(e.call(_NAME, _ONE), '{"name": "get_weather", "arguments": {w2w'),
    "tag in prose": lambda e: f"{e.before}w1w uses {e.opening} to call w2w.\n\nw3w",
    "both tags in prose": lambda e: f"{e.before}w1w {e.opening} and {e.closing} w2w.",
    "closing tag in a value": lambda e: e.reply(_NAME, json.dumps({"city": f"w1w {e.closing} w2w"})),
    "both tags in a value": lambda e: e.reply(
        _NAME, json.dumps({"city": f"w1w {e.opening}w2w{e.closing} w3w"})
    ),
    "string without an end": lambda e: e.around('{"name": "get_weather", "arguments": {"city": "w1w}}')
    + " w2w",
    "string without an end, then a call": lambda e: e.around('{"name": "get", "arguments": {"a": "w1w}}')
    + "\nw2w\n"
    + e.opening
    + e.call(_NAME, '{"city": "w3w"}')
    + e.closing,
    "in a code block": lambda e: f"{e.before}w1w\n```json\n{e.opening}{e.call(_NAME, '{}')}{e.closing}\n```\nw2w",
    "code block in the tag": _object("\n```json\n" + _named(_ONE) + "\n```\n"),
    "XML in the tag": _object("<function=get_weather><parameter=city>w1w</parameter></function>"),
    "XML, value not closed": _object("<function=get_weather><parameter=city>w1w</function>"),
    "XML, nothing closed": _object("<function=get_weather>\n<parameter=city>\nw1w"),
    "XML, JSON inside": _object('<function=get_weather>{"city": "w1w"}</function>'),
    "JSON in the tag": _object(_named(_ONE)),
    "pairs in the tag": _object("get_weather<arg_key>city</arg_key><arg_value>w1w</arg_value>"),
    "Python's call in the tag": _object('get_weather(city="w1w", days=3)'),
    "name before the arguments": _object('get_weather\n{"city": "w1w"}'),
    "unknown tool": lambda e: e.reply("w1w", '{"city": "w2w"}'),
    "name missing": _object('{"arguments": {"city": "w1w"}}'),
    "name empty": _object('{"name": "", "arguments": {"city": "w1w"}}'),
    "NaN": _with('{"city": "w1w", "temp": NaN}'),
    "Infinity": _with('{"city": "w1w", "temp": [Infinity, -Infinity]}'),
    "huge float": _with('{"city": "w1w", "temp": 1e999}'),
    "huge integer": _with('{"city": "w1w", "days": ' + "123456789" * 5 + "}"),
    "number of 5,000 digits": _with('{"city": "w1w", "days": ' + "9" * 5000 + "}"),
    "float for an integer": _with('{"city": "w1w", "days": 5.0}'),
    "leading zero": _with('{"city": "w1w", "days": 007}'),
    "doubled opening tag": lambda e: e.before + e.opening + e.opening + e.call(_NAME, _ONE) + e.closing,
    "doubled closing tag": lambda e: e.reply(_NAME, _ONE) + e.closing + " w2w",
    "doubled tags": lambda e: (
        e.before + e.opening * 2 + e.call(_NAME, _ONE) + e.closing * 2 + "w2w"
    ),
    "text after, in the tag": lambda e: e.around(e.call(_NAME, _ONE) + "\nw2w w3w\n"),
    "text before, in the tag": _object("w1w: " + _named('{"city": "w2w"}')),
    "text after the tag": lambda e: e.reply(_NAME, _ONE) + "\nw2w",
    "more members": _object('{"name": "get_weather", "arguments": {"city": "w1w"}, "why": "w2w", "id": "1"}'),
    "half a surrogate pair": _with('{"city": "w1w \\ud800 w2w"}'),
    "surrogate pair": _with('{"city": "w1w \\ud83d\\ude00 w2w"}'),
    "bytes that are no text": _with('{"city": "w1w \ufffd\ufffd w2w"}'),
    "escapes of no kind": _with('{"city": "w1w \\d \\_ w2w"}'),
    "quotes in a string": _with('{"city": "w1w "w2w" w3w"}'),
    "names without quotes": _object('{name: "get_weather", arguments: {city: "w1w"}}'),
    "comments": _object('{"name": "get_weather", /* w1w */ "arguments": {}}'),
    "very deep": _with(_DEEP),
    "nothing in the tag": _object(""),
    "a word in the tag": _object("w1w"),
    "a number in the tag": _object("4711"),
    "brackets in the tag": _object("[[[{{{ w1w"),
    "quotes in the tag": _object('"""\'\'\' w1w "'),
    "cut in the name": lambda e: e.before + (e.opening + e.call(_NAME, _ONE))[: len(e.opening) + 6] + "",
    "cut in the value": lambda e: e.before + (e.opening + e.call(_NAME, '{"city": "w1w')),
}  # fmt: skip


def words_of(text: str) -> list[str]:
    return sorted(set(re.findall(r"w[0-9]w", text)))


def replies(parser: str) -> Iterator[tuple[str, str]]:
    """Every form as this parser's model would write it: its name and the reply."""
    for form, write in FORMS.items():
        yield form, write(envelope(parser))


def outcome(parser: str, reply: str) -> dict[str, Any]:
    return join(run(make_parser(parser, think=True, tools=TOOLS), [reply]))


def main() -> int:
    """Print the table: `c` calls, `t` text, `b` both, `L` lost text, `E` an error."""
    names, counts = readers(), {"c": 0, "t": 0, "b": 0, "L": 0, "E": 0, "-": 0}
    for number, name in enumerate(names):
        print(f"{chr(65 + number) if number < 26 else chr(71 + number)} {name}")
    print(f"{'':36}{''.join(chr(65 + n) if n < 26 else chr(71 + n) for n in range(len(names)))}")
    for form in FORMS:
        line = ""
        for name in names:
            reply = FORMS[form](envelope(name))
            try:
                found = outcome(name, reply)
            except Exception as error:
                print(f"{name}, {form}: {error!r}", file=sys.stderr)
                mark = "E"
            else:
                out = json.dumps(found, ensure_ascii=False)
                lost = [word for word in words_of(reply) if word not in out]
                has_text = bool(found.get("c", "").strip())
                mark = "L" if lost else "bc"[not has_text] if "calls" in found else "-t"[has_text]
                if lost:
                    print(f"{name}, {form}: {lost} of {reply!r} in {found}", file=sys.stderr)
            counts[mark] += 1
            line += mark
        print(f"{form:36}{line}")
    print(counts)
    return 1 if counts["L"] or counts["E"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
