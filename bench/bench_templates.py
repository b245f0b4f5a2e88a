"""Cost of prompts and answers: templates by request, parsers by token.

Usage: python -m bench.bench_templates [DECODE_MS]
Templates: parsing one, and rendering a conversation of 50 messages (aim: under 5 ms). Parsers: what reading a reply
costs for each token (800 of thinking where there is such, then text with what could begin a tag), and the share of
that in the time that the engine needs for a token: DECODE_MS, by default 2.5, which is the model of 4 MB that Corral
ships (aim: under 1 %). Grammars: making one from a schema and from a choice of tools. The best of several runs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from corral.chat.families.known import find_parser, parser_names
from corral.chat.gotemplate.template import Template
from corral.chat.grammar import schema_grammar
from corral.chat.grammar.rules import Rules
from corral.chat.parsing.events import OutputParser
from corral.chat.parsing.thinking import ThinkingParser
from corral.chat.parsing.tools import ToolParser
from corral.chat.templates.gochat import render_messages
from corral.chat.templates.jinja import ChatTemplate
from corral.types import Message, Tool, ToolCall, ToolFunction, ToolParameters, ToolProperty

_RUNS = 30
_LIMIT_MS = 5.0

_TEMPLATES = {
    "turns": (
        "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}{{ if .Prompt }}<|im_start|>user\n"
        "{{ .Prompt }}<|im_end|>\n{{ end }}<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"
    ),
    "messages": (
        "{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "tools": (
        "{{- if or .System .Tools }}<|im_start|>system\n{{ .System }}\n"
        "{{- if .Tools }}\n# Tools\n{{- range .Tools }}\n"
        '{"type": "function", "function": {{ .Function }}}{{ end }}{{ end }}<|im_end|>\n{{ end }}'
        "{{- range $i, $_ := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 -}}"
        '{{- if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "assistant" }}<|im_start|>assistant\n'
        "{{ if and $.IsThinkSet (and .Thinking (or $last (gt $i 10))) }}<think>{{ .Thinking }}</think>{{ end }}"
        "{{ if .Content }}{{ .Content }}{{ else if .ToolCalls }}{{ range .ToolCalls }}<tool_call>\n"
        '{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}\n</tool_call>\n{{ end }}{{ end }}'
        "{{ if not $last }}<|im_end|>\n{{ end }}"
        '{{ else if eq .Role "tool" }}<|im_start|>user\n<tool_response>\n{{ .Content }}\n</tool_response><|im_end|>\n'
        '{{ end }}{{ if and (ne .Role "assistant") $last }}<|im_start|>assistant\n{{ end }}{{ end }}'
    ),
}


def _conversation() -> list[Message]:
    text = "The quick brown fox jumps over the lazy dog. " * 12
    messages = [Message("system", "You are a helpful assistant.")]
    while len(messages) < 48:
        messages += [Message("user", text), Message("assistant", text, thinking="Let me see. " * 20)]
    call = ToolCall("get_weather", {"city": "Paris", "days": 3}, id="call_1")
    messages[-2:] = [
        Message("assistant", tool_calls=(call,)),
        Message("tool", "sunny", tool_name="get_weather"),
    ]
    return [*messages, Message("user", "And tomorrow?")][:50]


def _tools() -> list[Tool]:
    properties = {
        "city": ToolProperty(types=("string",), description="The city"),
        "days": ToolProperty(types=("integer",)),
    }
    function = ToolFunction("get_weather", "Get the weather", ToolParameters("object", properties=properties))
    return [Tool("function", function=function)] * 4


def _best_ms(work: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times) * 1000


_CHATML_JINJA = (
    "{%- if tools %}{{- '<|im_start|>system\\n' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}"
    "{{- '<|im_end|>\\n' }}{%- endif %}{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content }}"
    "{%- for call in message.tool_calls or [] %}{{- call.function | tojson }}{%- endfor %}{{- '<|im_end|>\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
_SCHEMA = {
    "type": "object",
    "properties": {
        **{f"field_{i}": {"type": "string", "maxLength": 80} for i in range(8)},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "born": {"type": "string", "format": "date-time"},
        "items": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    },
    "required": ["score", "items"],
}


def _parsers(tools: list[Tool]) -> dict[str, Callable[[], OutputParser]]:
    made: dict[str, Callable[[], OutputParser]] = {
        "thinking tags": lambda: ThinkingParser("<think>", "</think>", started=True),
        "tool tag": lambda: ToolParser("<tool_call>", tools),
    }
    for name in parser_names():
        info = find_parser(name)
        assert info is not None
        made[name] = lambda info=info: info.create(tools, None, True if info.has_thinking else None)  # type: ignore[misc]
    return made


def _pieces(name: str) -> list[str]:
    """A reply of 2,000 tokens: words, the end of the family's thinking, and more words."""
    found = find_parser(name)
    form = found.calls if found is not None else None
    thinking = form.thinking if form is not None else ("<think>", "</think>")
    words = ["The", " quick", " brown", " fox", ",", " x", " <", " 5", ".\n", " {}"] * 80
    return [*words, *(thinking[1:] if thinking else ()), *words, *words[:400]]


def _feed(parser: OutputParser, pieces: list[str]) -> None:
    for piece in pieces:
        parser.feed(piece)


def _bench_parsers(tools: list[Tool], decode_ms: float) -> None:
    print(f"\n{'parser':<20}{'us a token':>11}{'share of ' + format(decode_ms, 'g') + ' ms':>18}")
    for name, make in _parsers(tools).items():
        pieces = _pieces(name)
        cost_us = 1000 * (_best_ms(lambda make=make, pieces=pieces: _feed(make(), pieces))) / len(pieces)  # type: ignore[misc]
        share = cost_us / 1000 / decode_ms
        print(f"{name:<20}{cost_us:>11.2f}{share:>17.3%}{'' if share < 0.01 else '   TOO SLOW'}")


def _bench_grammars(tools: list[Tool]) -> None:
    found = find_parser("qwen3")
    assert found is not None and found.calls is not None
    form = found.calls

    def choice() -> str:
        rules = Rules()
        return rules.text(form.calls(rules, tools))

    print(f"\n{'grammar':<20}{'ms':>8}")
    print(f"{'schema':<20}{_best_ms(lambda: schema_grammar(_SCHEMA)):>8.3f}")
    print(f"{'choice of 4 tools':<20}{_best_ms(choice):>8.3f}")


def main() -> None:
    messages, tools = _conversation(), _tools()
    decode_ms = float(sys.argv[1]) if len(sys.argv) > 1 else 2.5
    print(
        f"{'template':<12}{'parse ms':>10}{'render ms':>11}   ({len(messages)} messages, limit {_LIMIT_MS} ms)"
    )
    for name, text in _TEMPLATES.items():
        template = Template.parse(text)
        parse_ms = _best_ms(lambda text=text: Template(text))  # type: ignore[misc]
        render_ms = _best_ms(lambda template=template: render_messages(template, messages, tools, True))  # type: ignore[misc]
        verdict = "" if render_ms < _LIMIT_MS else "   TOO SLOW"
        print(f"{name:<12}{parse_ms:>10.3f}{render_ms:>11.3f}{verdict}")
    jinja = ChatTemplate.parse(_CHATML_JINJA)
    parse_ms = _best_ms(lambda: ChatTemplate(_CHATML_JINJA))
    print(f"{'jinja':<12}{parse_ms:>10.3f}{_best_ms(lambda: jinja.render(messages, tools)):>11.3f}")
    _bench_parsers(tools, decode_ms)
    _bench_grammars(tools)


if __name__ == "__main__":
    main()
