"""Feed random replies through every parser, each in three cuts, and look for lost text, crashes and hangs.

Every word of a reply is unique and has to come out again: in the content, in the thinking or in a call. Words in
what a parser is told to hide (thinking that was switched off) and in the header of a message may go.

    python scripts/fuzz_parsers.py --count 100000 --seed 1
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from corral.chat.families.known import find_parser, parser_names
from corral.chat.parsing.events import OutputParser, Parsed
from corral.chat.parsing.thinking import ThinkingParser
from corral.chat.parsing.tools import ToolParser
from corral.types import Message, Tool, ToolFunction, ToolParameters, ToolProperty

_PROPERTIES = {
    "city": ToolProperty(types=("string",)),
    "days": ToolProperty(types=("integer",)),
    "list": ToolProperty(types=("array",)),
    "any": ToolProperty(any_of=(ToolProperty(types=("string",)), ToolProperty(types=("object",)))),
}
TOOLS = (
    Tool("function", None, ToolFunction("get_weather", "", ToolParameters("object", properties=_PROPERTIES))),
    Tool("function", None, ToolFunction("get", "", ToolParameters("object", properties={}))),
)
GENERIC_TAGS = ("<tool_call>", "[TOOL_CALLS] [", "{", "[", "<|tool|>")
_MARKS = """<think>|</think>|<tool_call>|</tool_call>|<function=get_weather>|</function>|<parameter=city>|</parameter>
<user>|</user>|<arg_key>|</arg_key>|<arg_value>|</arg_value>|[TOOL_CALLS]|[ARGS]|[THINK]|[/THINK]|[TOOL_CALLS] [
<|start|>assistant|<|start|>|<|end|>|<|message|>|<|channel|>|analysis|final|commentary|<|constrain|>json| to=
to=self|to=user|to=get_weather|to=functions.get|<｜tool▁calls▁begin｜>|<｜tool▁calls▁end｜>|<｜tool▁call▁begin｜>
<｜tool▁call▁end｜>|<｜tool▁sep｜>|<function_calls>|</function_calls>|<start_function_call>|<end_function_call>
<escape>|<channel|thought|<|tool_response>|<|"|>|<|tool_call_start|>|<|tool_call_end|>|<|START_TEXT|>
<|END_TEXT|>|<|START_ACTION|>|<|END_ACTION|>|<|END_THINKING|>|<|END_OF_TURN_TOKEN|>|<|eom|>|<|eot|>
<atem:function_calls>|</atem:function_calls>|<atem:invoke name="get_weather">|</atem:invoke>
<atem:parameter name="city">|</atem:parameter>|get_weather|get|call:get_weather{|function|{|}|[|]|(|)|"|'|,|:|=|\\|<
"""
_EXTRA = (
    "<|channel>",
    "<channel|>",
    "<|tool_call>",
    "<tool_call|>",
    "\n",
    " ",
    "\n\n",
    "```json\n",
    "\n```",
    "é",
)
MARKS = [
    *(mark for mark in re.split(r"\||\n", _MARKS.replace("|>", "\0").replace("<|", "\1")) if mark),
    *_EXTRA,
]
MARKS = [mark.replace("\0", "|>").replace("\1", "<|") for mark in MARKS]
_HEADER_FIELD = re.compile(r"(<\|channel\|>|\bto=|<\|constrain\|>)[^\s<]*")
_WORD = re.compile(r"w[0-9]+w")


class Words:
    """Unique words, so that each can be found again."""

    def __init__(self) -> None:
        self._count = 0

    def next(self) -> str:
        self._count += 1
        return f"w{self._count}w"


def sound_calls(words: Words) -> list[str]:
    """One call in every form, with words as values."""
    a = {"city": words.next()}
    text = json.dumps(a)
    named = json.dumps({"name": "get_weather", "arguments": a})
    action = json.dumps([{"tool_call_id": "0", "tool_name": "get_weather", "parameters": a}])
    value = a["city"]
    return [
        f"<tool_call>\n{named}\n</tool_call>",
        f"<tool_call><function=get_weather><parameter=city>{value}</parameter></function></tool_call>",
        f"<tool_call>get_weather<arg_key>city</arg_key><arg_value>{value}</arg_value></tool_call>",
        f"[TOOL_CALLS]get_weather[ARGS]{text}",
        f"[TOOL_CALLS] [{named}]",
        f"<|start|>assistant<|channel|>commentary to=functions.get_weather<|message|>{text}<|end|>",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
        f"{text}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        f'<function_calls>get_weather(city="{value}")</function_calls>',
        f"<|tool_call_start|>[get_weather(city='{value}')]<|tool_call_end|>",
        f"<start_function_call>call:get_weather{{city:<escape>{value}<escape>}}<end_function_call>",
        f'<|tool_call>call:get_weather{{city:<|"|>{value}<|"|>}}<tool_call|>',
        f"<|START_ACTION|>{action}<|END_ACTION|>",
        '<|start|>assistant to=get_weather<|message|><atem:function_calls>\n<atem:invoke name="get_weather">\n'
        f'<atem:parameter name="city">{value}</atem:parameter>\n</atem:invoke>\n</atem:function_calls><|eom|>',
        named,
    ]


def random_reply(rng: random.Random, own_marks: Sequence[str] = ()) -> str:
    """`own_marks`: what the parser looks for; they come up more often than the marks of others."""
    words = Words()
    parts: list[str] = []

    def mark() -> str:
        return rng.choice(own_marks if own_marks and rng.random() < 0.7 else MARKS)

    def call() -> str:
        calls = sound_calls(words)
        own = [text for text in calls if text.startswith(tuple(own_marks))]
        return rng.choice(own if own and rng.random() < 0.7 else calls)

    for _ in range(rng.randrange(1, 14)):
        kind = rng.random()
        if kind < 0.4:
            parts.append(words.next())
        elif kind < 0.75:
            parts.append(mark())
        elif kind < 0.85:
            whole = mark()
            parts.append(whole[: rng.randrange(len(whole)) + 1])
        else:
            parts.append(call())
        if rng.random() < 0.3:
            parts.append(rng.choice((" ", "\n", "  ")))
    return "".join(parts)


def random_cut(text: str, rng: random.Random) -> list[str]:
    pieces: list[str] = []
    while text:
        size = rng.randrange(1, 9)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


@dataclass(frozen=True, slots=True)
class Case:
    """A parser as a request would make it. `hides`: it was told to drop thinking."""

    label: str
    make: Callable[[], OutputParser]
    hides: bool
    marks: tuple[str, ...]


def all_parsers() -> list[Case]:
    think_tags = ("<think>", "</think>")
    made = [
        Case("thinking", lambda: ThinkingParser(*think_tags), False, think_tags),
        Case("thinking-primed", lambda: ThinkingParser(*think_tags, started=True), False, think_tags),
    ]
    for tag in GENERIC_TAGS:
        marks = (tag, tag.replace("<", "</"), "{", "}", "[", "]", '{"name":"get","arguments":{}}')
        made.append(Case(f"generic:{tag}", partial(ToolParser, tag, TOOLS), False, marks))
    lasts = (None, Message("assistant", "x"), Message("tool", "x"))
    for name in parser_names():
        info = find_parser(name)
        assert info is not None
        hides = name in ("gemma4", "gemma4-no-thinking", "laguna", "poolside-v1", "glimmer")
        for think in (None, True, False):
            for last in lasts:
                for tools in ((), TOOLS):
                    role = last.role if last else "-"
                    label = f"{name} think={think} last={role} tools={len(tools)}"
                    make = partial(info.create, tools, last, think)
                    is_hiding = hides and (think is not True or not info.has_thinking)
                    made.append(Case(label, make, is_hiding, info.tokens))
    return made


def parse(parser: OutputParser, pieces: list[str]) -> tuple[str, str, list[object]]:
    """Content, thinking and calls of a whole reply."""
    found: list[Parsed] = [*map(parser.feed, pieces), parser.finish()]
    calls = [call for parsed in found for call in parsed.tool_calls]
    assert [call.index for call in calls] == list(range(len(calls)))
    shown: list[object] = [[call.name, call.arguments] for call in calls]
    return "".join(p.content for p in found), "".join(p.thinking for p in found), shown


def check(case: Case, reply: str, rng: random.Random) -> str:
    """What is wrong, or ""."""
    whole = parse(case.make(), [reply])
    for pieces in (list(reply), random_cut(reply, rng)):
        if (cut := parse(case.make(), pieces)) != whole:
            return f"the cut matters: {whole} / {cut}"
    content, thinking, calls = whole
    if case.hides:
        return ""
    out = content + thinking + json.dumps(calls, ensure_ascii=False)
    lost = [word for word in _WORD.findall(_HEADER_FIELD.sub(" ", reply)) if word not in out]
    if lost:
        return f"lost {lost}: {whole}"
    twice = [word for word in _WORD.findall(reply) if out.count(word) > 1]
    return f"said twice {twice}: {whole}" if twice else ""


def main() -> int:
    arguments = argparse.ArgumentParser(description="Feed random replies through every output parser.")
    arguments.add_argument("--count", type=int, default=100_000, help="replies, shared out over all parsers")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--show", type=int, default=20, help="failures to show")
    options = arguments.parse_args()
    rng = random.Random(options.seed)
    cases = all_parsers()
    failures = 0
    slowest = 0.0
    started = time.perf_counter()
    for i in range(options.count):
        case = cases[i % len(cases)]
        reply = random_reply(rng, case.marks)
        begun = time.perf_counter()
        fault = check(case, reply, rng)
        slowest = max(slowest, time.perf_counter() - begun)
        if fault:
            failures += 1
            if failures <= options.show:
                print(f"{case.label}\n  reply {reply!r}\n  {fault}")
    elapsed = time.perf_counter() - started
    print(
        f"{options.count} replies, {len(cases)} parsers, {failures} failures, "
        f"{elapsed:.1f} s, slowest {slowest * 1e3:.1f} ms"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
