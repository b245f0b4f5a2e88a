"""What clients send back of earlier turns, on the three compatible surfaces: read, or passed over, never refused.

A message that is refused is sent again with every later request of its conversation, which is over then. Only what
is new and the user's own is refused, and only while it is new.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from corral.api.anthropic.convert import chat_request as messages_request
from corral.api.anthropic.protocol import read_messages
from corral.api.openai.protocol import read_chat
from corral.api.reading.call_arguments import arguments_of
from corral.api.responses.compaction import compaction_item
from corral.api.responses.convert import chat_request as responses_request
from corral.api.responses.protocol import read_responses
from corral.errors import InvalidRequestError
from corral.types import Message, ToolCall

MAX_DEPTH = 100
PIXEL = base64.b64encode(b"\x89PNG pixel").decode()
QUESTION = {"role": "user", "content": "Hi"}


def chat(*messages: dict[str, Any]) -> list[Message]:
    body = json.dumps({"model": "m", "messages": messages}).encode()
    return list(read_chat(body, MAX_DEPTH).request.messages)


def responses(*items: dict[str, Any]) -> list[Message]:
    body = json.dumps({"model": "m", "input": items}).encode()
    return list(responses_request(read_responses(body, MAX_DEPTH), []).messages)


def messages(*turns: dict[str, Any]) -> list[Message]:
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": turns}).encode()
    return list(messages_request(read_messages(body, MAX_DEPTH)).messages)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("", {}),
        ("  ", {}),
        (None, {}),
        ("null", {}),
        ("{}", {}),
        ('{"b": 1, "a": {"x": null}}', {"b": 1, "a": {"x": None}}),
        ({"a": 1}, {"a": 1}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('{"city": "Par', {"arguments": '{"city": "Par'}),
        ('{"a":1}{"b":2}', {"arguments": '{"a":1}{"b":2}'}),
        ("Paris", {"arguments": "Paris"}),
        ("[1]", {"arguments": "[1]"}),
        ([1], {"arguments": [1]}),
        (5, {"arguments": 5}),
        ("[" * 100_000, {"arguments": "[" * 100_000}),
        ('{"a":' * 100_000, {"arguments": '{"a":' * 100_000}),
    ],
    ids=lambda value: str(value)[:20],
)
def test_arguments(given: Any, wanted: dict[str, Any]) -> None:
    """An object as it is, nothing as an empty one, anything else whole."""
    assert arguments_of(given) == wanted


def test_arguments_reach_the_model_on_every_surface() -> None:
    """A call whose arguments broke off is shown as it was written."""
    cut = '{"city": "Par'
    function = {"name": "f", "arguments": cut}
    (_, call) = chat(
        QUESTION, {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": function}]}
    )
    assert call.tool_calls == (ToolCall("f", {"arguments": cut}, id="c"),)
    (_, call) = responses(QUESTION, {"type": "function_call", "call_id": "c", **function})
    assert call.tool_calls == (ToolCall("f", {"arguments": cut}, id="c"),)
    use = {"type": "tool_use", "id": "c", "name": "f", "input": cut}
    (_, call) = messages(QUESTION, {"role": "assistant", "content": [use]})
    assert call.tool_calls == (ToolCall("f", {"arguments": cut}, id="c"),)


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ({"role": "assistant", "content": None}, Message("assistant")),
        ({"role": "assistant"}, Message("assistant")),
        (
            {"role": "assistant", "content": None, "reasoning_content": "Hm"},
            Message("assistant", thinking="Hm"),
        ),
        ({"role": "assistant", "content": None, "reasoning": {"effort": 1}}, Message("assistant")),
        ({"role": "assistant", "content": None, "refusal": "No."}, Message("assistant", "No.")),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            Message("assistant", "No."),
        ),
        (
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}],
            },
            Message("assistant", thinking="Hm"),
        ),
        ({"role": "assistant", "content": None, "audio": {"id": "audio_1"}}, Message("assistant")),
        (
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            Message("assistant", tool_calls=(ToolCall("f", {}),)),
        ),
        (
            {"role": "assistant", "content": [], "tool_calls": [{"id": "c", "function": {"name": "f"}}]},
            Message("assistant", tool_calls=(ToolCall("f", {}, id="c"),)),
        ),
        (
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "patch", "input": "+a"}}],
            },
            Message("assistant", tool_calls=(ToolCall("patch", {"input": "+a"}, id="c"),)),
        ),
        ({"role": "function", "name": "f", "content": "ok"}, Message("tool", "ok", tool_name="f")),
        ({"role": "tool", "tool_call_id": "c", "content": None}, Message("tool", tool_call_id="c")),
        ({"role": "tool", "tool_call_id": "c", "content": []}, Message("tool", tool_call_id="c")),
        (
            {
                "role": "tool",
                "tool_call_id": "c",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            Message("tool", "a\nb", tool_call_id="c"),
        ),
        ({"role": "developer", "content": "Be brief."}, Message("developer", "Be brief.")),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_chat_history(message: dict[str, Any], wanted: Message) -> None:
    """A message of each form that OpenAI's API, or a server like it, has given its clients."""
    assert chat(QUESTION, message, QUESTION)[1:-1] == [wanted]


def test_files_in_chats() -> None:
    """Text and pictures of a file are read; anything else is refused while it is new, and a note afterwards."""
    text = base64.b64encode(b"one, two").decode()
    part = {"type": "file", "file": {"filename": "n.txt", "file_data": f"data:text/plain;base64,{text}"}}
    assert chat({"role": "user", "content": [part]}) == [Message("user", "n.txt\n\none, two")]
    part = {"type": "file", "file": {"file_data": PIXEL}}
    assert chat({"role": "user", "content": [part]})[0].images == (base64.b64decode(PIXEL),)
    pdf = base64.b64encode(b"%PDF-1.4").decode()
    part = {"type": "file", "file": {"filename": "n.pdf", "file_data": f"data:application/pdf;base64,{pdf}"}}
    with pytest.raises(InvalidRequestError, match=r"'n\.pdf' is neither a text nor an image"):
        chat({"role": "user", "content": [part]})
    (note, _) = chat({"role": "user", "content": [part]}, QUESTION)
    assert "n.pdf" in note.content


CALL = {"call_id": "c"}


@pytest.mark.parametrize(
    ("item", "wanted"),
    [
        (
            {**CALL, "type": "custom_tool_call", "name": "apply_patch", "input": "*** Begin"},
            [Message("assistant", tool_calls=(ToolCall("apply_patch", {"input": "*** Begin"}, id="c"),))],
        ),
        (
            {**CALL, "type": "custom_tool_call_output", "output": "done"},
            [Message("tool", "done", tool_call_id="c")],
        ),
        (
            {**CALL, "type": "local_shell_call", "action": {"type": "exec", "command": ["ls"]}},
            [
                Message(
                    "assistant",
                    tool_calls=(ToolCall("local_shell", {"type": "exec", "command": ["ls"]}, id="c"),),
                )
            ],
        ),
        (
            {"id": "c", "type": "local_shell_call_output", "output": "a"},
            [Message("tool", "a", tool_call_id="c")],
        ),
        (
            {**CALL, "type": "shell_call_output", "output": [{"stdout": "a", "stderr": "", "outcome": {}}]},
            [Message("tool", "a", tool_call_id="c")],
        ),
        (
            {**CALL, "type": "apply_patch_call", "operation": {"type": "delete_file", "path": "a"}},
            [
                Message(
                    "assistant",
                    tool_calls=(ToolCall("apply_patch", {"type": "delete_file", "path": "a"}, id="c"),),
                )
            ],
        ),
        (
            {**CALL, "type": "computer_call_output", "output": {"type": "computer_screenshot"}},
            [Message("tool", tool_call_id="c")],
        ),
        (
            {"id": "m", "type": "mcp_call", "name": "find", "arguments": '{"q": 1}', "output": "found"},
            [
                Message("assistant", tool_calls=(ToolCall("find", {"q": 1}),)),
                Message("tool", "found", tool_name="find"),
            ],
        ),
        (
            {
                "id": "x",
                "type": "code_interpreter_call",
                "code": "1+1",
                "outputs": [{"type": "logs", "logs": "2"}],
            },
            [
                Message("assistant", tool_calls=(ToolCall("code_interpreter", {"code": "1+1"}),)),
                Message("tool", "2", tool_name="code_interpreter"),
            ],
        ),
        (
            {"id": "x", "type": "file_search_call", "queries": ["q"], "results": [{"text": "t"}]},
            [
                Message("assistant", tool_calls=(ToolCall("file_search", {"queries": ["q"]}),)),
                Message("tool", "t", tool_name="file_search"),
            ],
        ),
        ({"type": "file_search_call"}, []),
        ({"type": "web_search_call", "action": {"type": "search", "query": "q"}}, []),
        ({"type": "image_generation_call", "result": PIXEL}, []),
        ({"type": "mcp_list_tools", "server_label": "s", "tools": []}, []),
        ({"type": "mcp_approval_request", "name": "f", "arguments": "{}"}, []),
        ({"type": "something_of_the_year_2030"}, []),
        ({"type": "reasoning", "summary": [], "encrypted_content": "gAAAAABo"}, []),
        (
            {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            [Message("assistant", "No.")],
        ),
        (
            {"type": "message", "role": "assistant", "content": [{"type": "output_hologram"}]},
            [Message("assistant", "[input[1]: content[0]: unknown content type: output_hologram]")],
        ),
        ({"type": "compaction", "encrypted_content": "gAAAAABo"}, []),
        (
            compaction_item("They met."),
            [Message("assistant", "Summary of the conversation so far:\n\nThey met.")],
        ),
        (
            {
                "type": "function_call_output",
                "call_id": "c",
                "output": [{"type": "input_file", "file_id": "f"}],
            },
            [Message("tool", "[file inputs are not currently supported]", tool_call_id="c")],
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.org/a.png"}]},
            [
                Message(
                    "user",
                    "[image URLs are not currently supported, please use base64 encoded data instead]",
                )
            ],
        ),
    ],
    ids=lambda value: value.get("type", "message") if isinstance(value, dict) else "",
)
def test_responses_history(item: dict[str, Any], wanted: list[Message]) -> None:
    """Items of every kind that OpenAI's API documents, and of kinds that it may have one day."""
    assert responses(QUESTION, item, QUESTION)[1:-1] == wanted


@pytest.mark.parametrize(
    "reasoning",
    [
        {"encrypted_content": "Hm"},
        {"encrypted_content": None, "summary": [{"type": "summary_text", "text": "Hm"}]},
        {"summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]},
        {"encrypted_content": "gAAAAABo", "summary": [{"type": "summary_text", "text": "Hm"}]},
    ],
)
def test_reasoning_history(reasoning: dict[str, Any]) -> None:
    """Our own items, those of servers that do not seal, and the summary of those that do."""
    found = responses(QUESTION, {"type": "reasoning", **reasoning}, {"role": "assistant", "content": "Yes"})
    assert found[1:] == [Message("assistant", "Yes", "Hm")]


@pytest.mark.parametrize(
    ("role", "block", "wanted"),
    [
        ("assistant", {"type": "redacted_thinking", "data": "x"}, []),
        (
            "assistant",
            {"type": "tool_use", "name": "f", "input": {"a": 1}},
            [Message("assistant", tool_calls=(ToolCall("f", {"a": 1}),))],
        ),
        (
            "user",
            {"type": "tool_result", "tool_use_id": "c", "content": {"ok": True}},
            [Message("tool", '{"ok": true}', tool_call_id="c")],
        ),
        ("assistant", {"type": "container_upload", "file_id": "f"}, []),
        ("assistant", {"type": "something_of_the_year_2030"}, []),
        (
            "assistant",
            {"type": "mcp_tool_use", "id": "c", "name": "f", "input": {"a": 1}, "server_name": "s"},
            [Message("assistant", tool_calls=(ToolCall("f", {"a": 1}, id="c"),))],
        ),
        (
            "assistant",
            {"type": "mcp_tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "ok"}]},
            [Message("tool", "ok", tool_call_id="c")],
        ),
        (
            "assistant",
            {
                "type": "bash_code_execution_tool_result",
                "tool_use_id": "c",
                "content": {"type": "bash_code_execution_result", "stdout": "a"},
            },
            [
                Message(
                    "tool",
                    '{"type": "bash_code_execution_result", "stdout": "a"}',
                    tool_call_id="c",
                )
            ],
        ),
        ("assistant", {"type": "compaction", "content": "They met."}, [Message("assistant", "They met.")]),
        (
            "user",
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}, "citations": None},
            [Message("user", "a")],
        ),
        (
            "user",
            {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
            [Message("user", "[invalid image source type: url. Only base64 images are supported.]")],
        ),
        (
            "user",
            {
                "type": "tool_result",
                "tool_use_id": "c",
                "content": [{"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}],
            },
            [
                Message(
                    "tool",
                    "[invalid image source type: url. Only base64 images are supported.]",
                    tool_call_id="c",
                )
            ],
        ),
    ],
    ids=lambda value: value.get("type") if isinstance(value, dict) else "",
)
def test_messages_history(role: str, block: dict[str, Any], wanted: list[Message]) -> None:
    """Blocks of every kind that Anthropic's API documents, and of kinds that it may have one day."""
    assert messages(QUESTION, {"role": role, "content": [block]}, QUESTION)[1:-1] == wanted


def test_earlier_answers_without_content() -> None:
    """They are passed over; a question without content is refused."""
    assert messages(QUESTION, {"role": "assistant", "content": None}, QUESTION) == [Message("user", "Hi")] * 2
    with pytest.raises(InvalidRequestError):
        messages(QUESTION, {"role": "user", "content": None})


def test_sounds_in_responses() -> None:
    """As in chats."""
    part = {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}
    assert responses({"role": "user", "content": [part]}) == [Message("user", images=(b"ABC",))]


def test_a_document_of_a_tool() -> None:
    """One that is no text is a note even when it is new: a tool read it, and the client cannot take it back."""
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": ""}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": [pdf]}
    (message,) = messages({"role": "user", "content": [result]})
    assert message.role == "tool"
    assert "application/pdf" in message.content
