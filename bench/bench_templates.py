"""Cost of prompt templates: parsing one, and rendering a conversation of 50 messages (aim: under 5 ms).

Usage: python bench/bench_templates.py
Prints one line per template: parse and render time in milliseconds, the best of several runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from corral.gotemplate.template import Template
from corral.prompt.gochat import render_messages
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


def main() -> None:
    messages, tools = _conversation(), _tools()
    print(
        f"{'template':<12}{'parse ms':>10}{'render ms':>11}   ({len(messages)} messages, limit {_LIMIT_MS} ms)"
    )
    for name, text in _TEMPLATES.items():
        template = Template.parse(text)
        parse_ms = _best_ms(lambda text=text: Template(text))  # type: ignore[misc]
        render_ms = _best_ms(lambda template=template: render_messages(template, messages, tools, True))  # type: ignore[misc]
        verdict = "" if render_ms < _LIMIT_MS else "   TOO SLOW"
        print(f"{name:<12}{parse_ms:>10.3f}{render_ms:>11.3f}{verdict}")


if __name__ == "__main__":
    main()
