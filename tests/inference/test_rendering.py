"""Where a prompt is rendered: on the loop if it is quick, else in a worker, with the same text and errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from corral.chat.gotemplate import Template
from corral.chat.templates.jinja import ChatTemplate
from corral.errors import TemplateError, TemplateRaisedError
from corral.inference import rendering
from corral.types import Message, Tool, ToolCall, ToolFunction, ToolParameters, ToolProperty
from corral.workers.pool import run_job

pytestmark = pytest.mark.process

_LOOP = "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"
_MESSAGES = [
    Message("user", "é"),
    Message("assistant", "b", tool_calls=(ToolCall("f", {"a": 1}),)),
    Message("user", "c"),
]
_TOOLS = [
    Tool(
        "function",
        function=ToolFunction("f", "d", ToolParameters("object", properties={"a": ToolProperty()})),
    )
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was given to a worker."""
    jobs: list[str] = []

    async def noted(job: Any, *args: Any, **options: Any) -> Any:
        jobs.append(job.__name__)
        return await run_job(job, *args, **options)

    monkeypatch.setattr(rendering, "run_job", noted)
    monkeypatch.setattr(rendering, "_slow", rendering._SlowTemplates())
    yield jobs


def _jinja(
    source: str, messages: list[Message] = _MESSAGES, tools: list[Tool] = _TOOLS, **options: Any
) -> str:
    return asyncio.run(rendering.render_jinja(ChatTemplate(source), messages, tools, options))


def _go(source: str | Template, messages: list[Message] = _MESSAGES) -> str:
    return asyncio.run(rendering.render_go(source, messages, _TOOLS, True))


def test_what_is_quick_is_rendered_here(asked: list[str]) -> None:
    assert _jinja(_LOOP) == "user:é;assistant:b;user:c;"
    assert _go("{{ range .Messages }}{{ .Content }}{{ end }}") == "ébc"
    assert not asked


def test_a_worker_gives_the_same_text(asked: list[str]) -> None:
    slow = "{{ '%s' % 'x' }}{{ bos_token }}{{ tools|tojson }}{{ messages|tojson }}" + _LOOP
    options = {"bos_token": "<s>", "eos_token": "", "think": "high"}
    assert _jinja(slow, **options) == ChatTemplate(slow).render(_MESSAGES, _TOOLS, **options)  # type: ignore[arg-type]
    assert _go('{{ print "x" .Tools }}{{ range .Messages }}{{ json .ToolCalls }}{{ end }}').startswith("x[{")
    text = asyncio.run(rendering.render_go_suffix('{{ print "x" .Prompt }}{{ .Suffix }}', "a", "b", None))
    assert text == "xab"
    assert asked == ["render_jinja", "render_messages", "render_suffix"]


def test_a_large_conversation_goes_to_a_worker(asked: list[str]) -> None:
    messages = [Message("user", "x" * 300_000)]
    assert len(_jinja(_LOOP, messages)) == 300_006
    assert len(_go(Template("{{ range .Messages }}{{ .Content }}{{ end }}"), messages)) == 300_000
    many = [Message("user", "")] * 9000
    assert len(_jinja(_LOOP, many)) == 9000 * 6
    calls = [Message("assistant", tool_calls=(ToolCall("f", {"a": [1] * 10_000}),)), Message("user", "x")]
    assert _jinja(_LOOP, calls) == "assistant:;user:x;"
    tools = [
        replace(_TOOLS[0], function=ToolFunction("f", parameters=ToolParameters(others={"x": [[]] * 9000})))
    ]
    assert _jinja(_LOOP, tools=tools)
    assert len(asked) == 5


def test_images_stay_here(asked: list[str]) -> None:
    """A worker is told that there are some."""
    messages = [Message("user", "x" * 300_000, images=(b"a" * 1000, b"b"))]
    assert _go("{{ range .Messages }}{{ len .Images }}{{ end }}", messages) == "2"
    assert [len(image) for image in rendering._without_images(messages)[0].images] == [0, 0]


def test_what_was_slow_is_not_tried_again(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.chat.templates.sandbox._QUICK_CPU_S", -1.0)
    source = _LOOP * 30
    assert _jinja(source)
    monkeypatch.setattr("corral.chat.templates.sandbox._QUICK_CPU_S", 1000.0)
    assert _jinja(source)
    assert len(asked) == 2
    assert _jinja(source, _MESSAGES[:1])  # a shorter conversation is
    assert len(asked) == 2


def test_errors_keep_their_classes(asked: list[str]) -> None:
    with pytest.raises(TemplateRaisedError, match="no"):
        _jinja("{{ '%s' % 1 }}{{ raise_exception('no') }}")
    with pytest.raises(TemplateError, match=r'template: :1:2: executing "" at <len 1>: error calling len'):
        _go("{{len 1}}{{print 1}}")
    with pytest.raises(TemplateError, match="unclosed action"):
        _go("{{ .Messages" + " " * 20_000)
    with pytest.raises(TemplateError, match="template is longer than"):
        _go("x" * 300_000)
    assert len(asked) == 4


def test_time_and_memory_are_bounded(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "_CPU_S", 0.1)
    with pytest.raises(TemplateError, match=r"the template takes too long: more than 0\.1 s of processor"):
        _jinja("{% set x = ('a'*2000000).strip('b'*1000000 ~ 'a') %}")
    with pytest.raises(TemplateError, match="takes too long"):
        _go("{{range 1000000000}}{{print 1}}{{end}}")
    monkeypatch.setattr(rendering, "_CPU_S", 60.0)
    monkeypatch.setattr(rendering, "_MEMORY_BYTES", 8 << 20)
    with pytest.raises(TemplateError, match="the template needs too much memory"):
        _go('{{range 9}}{{printf "%999999d" 1}}{{printf "%999999d" 1}}{{end}}')
