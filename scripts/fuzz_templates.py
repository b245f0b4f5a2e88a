"""Throw random templates at the Go template engine: nothing but TemplateError may come out, and nothing may hang.

Usage: python scripts/fuzz_templates.py [COUNT] [SEED]
Half of the texts are grown from the grammar, half are such texts with characters cut, doubled or exchanged.
Prints how many parsed and ran, and the slowest; exits 1 at the first other exception, when one takes too long, or
when its quick run holds a thread for longer than an event loop may be held.
"""

from __future__ import annotations

import random
import re
import sys
import time
import traceback

from corral.chat.gotemplate import NotQuickError
from corral.chat.gotemplate.template import Template
from corral.chat.templates.go_output import thinking_tags, tool_tag
from corral.chat.templates.gochat import render_messages, render_suffix
from corral.errors import TemplateError
from corral.types import Message, Tool, ToolCall, ToolFunction, ToolParameters, ToolProperty

_LIMIT_S = 20.0
_QUICK_LIMIT_S = 0.1
# Of a pointer, as Go prints it.
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
_TEXTS = ("a", " ", "\n", "<|im_start|>", "é", "{", "}", "- ", "\t  \n", "😀", "<think>")
_FIELDS = (
    ".", ".System", ".Messages", ".Tools", ".Response", ".Prompt", ".Suffix", ".Role", ".Content", ".Thinking",
    ".Images", ".ToolCalls", ".Function", ".Function.Name", ".Function.Arguments", ".Function.Arguments.x",
    ".Function.Parameters.Properties", ".Type", ".Type.String", ".Properties.All", ".Properties.Len", ".Enum",
    ".Nope", ".Nope.X", "$", "$.Messages", "$x", "$y", "$x.Content", ".Think", ".ThinkLevel", ".ToTypeScriptType",
)  # fmt: skip
_CONSTANTS = (
    "1", "0", "-1", "3", "2.5", "1e3", "0x1F", "'a'", "1i", "nil", "true", "false", '"a"', '"%s|%d"', '"%5.1f%v"',
    '"%[2]*d"', "`raw`", '"\\xff"', '""', "99999999999999999999", '"user"', "100000", '"é<&>"',
)  # fmt: skip
_FUNCTIONS = (
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print", "printf", "println",
    "html", "js", "urlquery", "json", "call", "currentDate", "toTypeScriptType",
)  # fmt: skip


_NAMES = ('"t"', '"u"', '"none"')


class _Grower:
    """Grows templates from the grammar; sometimes wrong ones."""

    def __init__(self, random_source: random.Random) -> None:
        self._random = random_source

    def template(self) -> str:
        return self._list(self._random.randint(1, 3))

    def _pick(self, choices: tuple[str, ...]) -> str:
        return self._random.choice(choices)

    def _list(self, depth: int) -> str:
        return "".join(self._node(depth) for _ in range(self._random.randint(0, 4)))

    def _action(self, body: str) -> str:
        return self._pick(("{{ ", "{{- ", "{{")) + body + self._pick((" }}", " -}}", "}}"))

    def _node(self, depth: int) -> str:
        kind = self._random.randint(0, 12 if depth else 5)
        if kind < 2:
            return self._pick(_TEXTS)
        if kind < 5:
            return self._action(self._pipeline(2))
        if kind == 5:
            sign = self._pick((" := ", " = "))
            return self._action(self._pick(("$x", "$y")) + sign + self._pipeline(1))
        if kind < 9:
            return self._block(self._pick(("if", "with", "range")), depth)
        if kind == 9:
            name = self._pick(_NAMES)
            return f"{{{{ define {name} }}}}{self._list(depth - 1)}{{{{ end }}}}" if depth > 1 else ""
        if kind == 10:
            return self._action(f"template {self._pick(_NAMES)} {self._operand(1)}")
        if kind == 11:
            return self._action(self._pick(("break", "continue", "/* c */", "else", "end")))
        return f'{{{{ block "t" . }}}}{self._list(depth - 1)}{{{{ end }}}}'

    def _block(self, word: str, depth: int) -> str:
        head = self._pipeline(1)
        if self._random.random() < 0.4:
            head = self._pick(("$x := ", "$x, $y := ", "$x = ")) + head
        middle = ""
        if self._random.random() < 0.3:
            middle = self._action(self._pick(("else", f"else {word} {self._operand(1)}"))) + self._list(
                depth - 1
            )
        return self._action(f"{word} {head}") + self._list(depth - 1) + middle + self._action("end")

    def _pipeline(self, depth: int) -> str:
        return " | ".join(self._command(depth) for _ in range(self._random.choice((1, 1, 1, 2, 3))))

    def _command(self, depth: int) -> str:
        if self._random.random() < 0.5:
            return self._operand(depth)
        operands = (self._operand(depth - 1) for _ in range(self._random.randint(0, 3)))
        return " ".join((self._pick(_FUNCTIONS), *operands))

    def _operand(self, depth: int) -> str:
        choice = self._random.random()
        if choice < 0.5:
            return self._pick(_FIELDS)
        if choice < 0.85 or depth <= 0:
            return self._pick(_CONSTANTS)
        return f"({self._pipeline(depth - 1)})" + self._pick(("", ".Content", ".X.Y"))


def _mutated(text: str, random_source: random.Random) -> str:
    chars = list(text)
    for _ in range(random_source.randint(1, 4)):
        at = random_source.randrange(len(chars) + 1)
        action = random_source.randrange(4)
        if action == 0:
            chars.insert(at, random_source.choice("{}()|$.\"'`-=:/* \n\x00é1eixX[]"))
        elif action == 1:
            del chars[at : at + random_source.randint(1, 3)]
        elif action == 2:
            chars[at:at] = chars[at : at + random_source.randint(1, 8)]
        else:
            chars[at:] = chars[at:][::-1] if random_source.random() < 0.05 else chars[at:]
    return "".join(chars)


def _conversation() -> tuple[list[Message], list[Tool]]:
    call = ToolCall("f", {"x": 1, "y": [None, True, {"z": "<é>"}]}, id="c")
    nested = ToolProperty(types=("object",), properties={"n": ToolProperty(types=("string", "null"))})
    properties = {"b": ToolProperty(types=("integer",), enum=(1, 2)), "a": nested}
    messages = [
        Message("system", "S"),
        Message("user", "Ué", images=(b"AB",)),
        Message("assistant", "", "hm", tool_calls=(call,)),
        Message("tool", "r", tool_name="f", tool_call_id="c"),
        Message("assistant", "A"),
        Message("user", "U2"),
    ]
    function = ToolFunction("f", "d", ToolParameters("object", required=("a",), properties=properties))
    return messages, [Tool("function", function=function)]


def _quick_s(template: Template, messages: list[Message], tools: list[Tool]) -> float:
    """Processor time of a quick run, which gives up after 8 ms and whatever its last step takes."""
    template.prepare()
    start_s = time.thread_time()
    try:
        quick = render_messages(template, messages, tools, True, is_quick=True)
    except (NotQuickError, TemplateError):
        return time.thread_time() - start_s
    taken_s = time.thread_time() - start_s
    full = render_messages(template, messages, tools, True)
    assert _ADDRESS.sub("", quick) == _ADDRESS.sub("", full), quick
    return taken_s


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    source = random.Random(seed)
    grower = _Grower(source)
    messages, tools = _conversation()
    n_parsed = n_ran = 0
    slowest_s, slowest, longest_quick_s = 0.0, "", 0.0
    for number in range(count):
        text = grower.template()
        if number % 2:
            text = _mutated(text, source)
        start = time.perf_counter()
        try:
            template = Template(text)
            n_parsed += 1
            held_s = _quick_s(template, messages, tools)
            longest_quick_s = max(longest_quick_s, held_s)
            if held_s > _QUICK_LIMIT_S:
                print(
                    f"template {number} of seed {seed} holds the loop for {held_s:.2f} s: {text!r}",
                    file=sys.stderr,
                )
                return 1
            template.variables(), thinking_tags(template), tool_tag(template)
            render_messages(template, messages, tools, True)
            render_suffix(template, "a", "b")
            n_ran += 1
        except TemplateError:
            pass
        except Exception:
            print(f"template {number} of seed {seed} breaks the engine: {text!r}", file=sys.stderr)
            traceback.print_exc()
            return 1
        taken_s = time.perf_counter() - start
        if taken_s > slowest_s:
            slowest_s, slowest = taken_s, text
        if taken_s > _LIMIT_S:
            print(f"template {number} of seed {seed} takes {taken_s:.1f} s: {text!r}", file=sys.stderr)
            return 1
    print(
        f"{count} templates: {n_parsed} parsed, {n_ran} ran to their end;"
        f" at most {longest_quick_s * 1000:.0f} ms in a quick run;"
        f" slowest {slowest_s * 1000:.0f} ms: {slowest!r}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
