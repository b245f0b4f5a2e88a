"""Quick renderings, for the event loop: the same text as in full, or NotQuickError within some milliseconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest

from corral.chat.gotemplate import NotQuickError as GoNotQuickError
from corral.chat.gotemplate import Template
from corral.chat.templates.builtin import known_chat_templates
from corral.chat.templates.gochat import render_messages
from corral.chat.templates.jinja import ChatTemplate
from corral.chat.templates.sandbox import NotQuickError
from corral.errors import TemplateError, TemplateRaisedError
from corral.types import Message, Tool, ToolCall, ToolFunction, ToolParameters, ToolProperty
from tests.chat.templates.public_templates import TEMPLATES
from tests.chat.templates.test_jinja_hostile import BOMBS, MESSAGES

pytestmark = pytest.mark.slow

# Processor time. A quick run stops after 8 ms; the rest is for its last step, and for a debug build of Python.
_BOUND_S = 0.25
_CONVERSATION = [
    Message("system", "be kind"),
    Message("user", "hello"),
    Message("assistant", "<think>hm</think>hi", tool_calls=(ToolCall("f", {"a": [1, {"b": None}]}, id="c"),)),
    Message("tool", "result", tool_name="f", tool_call_id="c"),
    Message("user", "and now?"),
]
_TOOLS = [
    Tool(
        "function",
        function=ToolFunction("f", "d", ToolParameters("object", properties={"a": ToolProperty()})),
    )
]


def _taken_s(work: Callable[[], object]) -> float:
    start_s = time.thread_time()
    with contextlib.suppress(NotQuickError, GoNotQuickError, TemplateError):
        work()
    return time.thread_time() - start_s


@pytest.mark.parametrize("name", BOMBS)
def test_no_bomb_holds_the_loop(name: str) -> None:
    try:
        template = ChatTemplate(BOMBS[name])
    except TemplateError:
        return  # compiling happens in a thread
    assert _taken_s(lambda: template.render(MESSAGES, is_quick=True)) < _BOUND_S


_SINGLE_CALLS = {
    "strip": "{% set x = ('a' * 200000) %}{{ x.strip('b' * 100000 ~ 'a') }}",
    "strip filter": "{{ messages[0].content|trim('b' * 200000) }}",
    "search often": "{% set a = 'a' * 200000 %}" + "{{ ('a' * 50 ~ 'b') in a }}" * 300,
    "search in a test": "{% set a = 'a' * 200000 %}" + "{{ ('a' * 50 ~ 'b') is in a }}" * 300,
    "compare often": "{% set a = range(4000)|map('string')|list %}{% set b = range(4000)|map('string')|list %}"
    + "{{ a == b }}" * 300,
    "sort": "{{ range(190000)|list|sort|first }}",
    "group": "{% for g in messages * 900|groupby('role') %}{% endfor %}",
    "format": "{{ '%s' % ('a' * 200000) }}" * 300,
    "colliding keys": "{% set d = {" + ",".join(f"{(2**61 - 1) * i}: 1" for i in range(1, 700)) + "} %}",
    "big numbers": "{% set n = 2 %}" + "{% set n = n * n %}" * 12 + "{{ n }}" * 200,
    "titles": "{{ ('ab ' * 80000)|title|length }}" * 100,
    "wordcount": "{{ ('ab ' * 80000)|wordcount }}" * 100,
    "json": "{{ (range(4000)|list)|tojson|length }}" * 100,
}


@pytest.mark.parametrize("name", _SINGLE_CALLS)
def test_no_call_that_cannot_be_stopped_is_made(name: str) -> None:
    template = ChatTemplate(_SINGLE_CALLS[name])
    assert _taken_s(lambda: template.render(MESSAGES, is_quick=True)) < _BOUND_S


_PUBLIC = {**TEMPLATES, **{f"known {i} {t.name}": t.text for i, t in enumerate(known_chat_templates())}}


@pytest.mark.parametrize("name", _PUBLIC)
def test_published_templates_are_quick_and_give_the_same(name: str) -> None:
    template = ChatTemplate(_PUBLIC[name])
    for messages, tools in (
        (_CONVERSATION, _TOOLS),
        (_CONVERSATION[:2], []),
        (_CONVERSATION[1:2] * 1, _TOOLS),
    ):
        try:
            full = template.render(messages, tools, bos_token="<s>", eos_token="</s>")
        except TemplateRaisedError:
            continue
        except TemplateError:
            continue
        assert template.can_be_quick
        # The clock may say no, on a machine that is slow enough; what the template does may not.
        with contextlib.suppress(NotQuickError):
            assert template.render(messages, tools, bos_token="<s>", eos_token="</s>", is_quick=True) == full


def test_a_published_template_does_nothing_that_is_not_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the clock: the most common ones never need a worker."""
    monkeypatch.setattr("corral.chat.templates.sandbox._QUICK_CPU_S", 1000.0)
    for source in _PUBLIC.values():
        with contextlib.suppress(TemplateError):
            ChatTemplate(source).render(_CONVERSATION, _TOOLS, is_quick=True)


def test_a_long_or_comparing_template_is_not_tried() -> None:
    for source in ("x" * 20_000, "{{ a == b }}" * 500, "{{ a in b }}{{ a is in b }}"):
        template = ChatTemplate(source)
        assert not template.can_be_quick
        with pytest.raises(NotQuickError):
            template.render(MESSAGES, is_quick=True)
        assert isinstance(template.render(MESSAGES), str)


_GO = {
    "range": "{{range 1000000000}}{{end}}",
    "arguments": "{{range 1000000}}{{if and " + "(eq 1 1) " * 300 + "}}{{end}}{{end}}",
    "json": "{{range 1000000}}{{$x := json $.Messages}}{{end}}",
    "whole": "{{range 1000000}}{{ $.Messages }}{{ $.Tools }}{{end}}",
    "to map": "{{range .Tools}}{{$f := .Function}}{{range 1000000}}{{ $f.Parameters.Properties }}{{end}}{{end}}",
    "calls": '{{define "a"}}{{template "b" .}}{{template "b" .}}{{end}}'
    '{{define "b"}}{{template "a" .}}{{template "a" .}}{{end}}{{template "a" .}}',
    "compare": "{{range 1000000}}{{if eq (index $.Messages 0).Content (index $.Messages 1).Content}}{{end}}{{end}}",
    "turns": "{{range 100000}}{{end}}{{ .System }}{{ .Prompt }}{{ .Response }}",
    "slice": "{{range 1000000}}{{$x := slice (index $.Messages 0).Content 1}}{{end}}",
}


@pytest.mark.parametrize("name", _GO)
def test_no_go_template_holds_the_loop(name: str) -> None:
    template = Template(_GO[name])
    template.prepare()
    messages = [Message(role, "é hello " * 1000) for role in ("user", "assistant")] * 8
    assert _taken_s(lambda: render_messages(template, messages, _TOOLS, is_quick=True)) < _BOUND_S


@pytest.mark.parametrize("name", ["print", "printf", "println", "html", "js", "urlquery"])
def test_go_templates_that_make_texts_are_not_tried(name: str) -> None:
    source = f'{{{{ {name} "a" }}}}{{{{ .Messages }}}}'
    with pytest.raises(GoNotQuickError):
        render_messages(Template(source), _CONVERSATION, is_quick=True)
    assert render_messages(Template(source), _CONVERSATION).startswith("a")
