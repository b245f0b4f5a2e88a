"""Bodies of requests as bytes that grow at their end only."""

from __future__ import annotations

import json
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cluster.conversation import conversation_pieces, session_of
from corral.cluster.keys import Prompt, prompt_of

ALL_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = "data:image/png;base64," + "iVBOR" * 100

# Each history has the turns of one API; what was asked and answered, in turn.
CHAT = [
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}],
    [{"role": "assistant", "content": "Hello!", "thinking": "Greet."}],
    [{"role": "user", "content": "What is in it?", "images": ["aGk="]}],
    [{"role": "assistant", "content": "", "tool_calls": [CALL]}],
    [{"role": "tool", "content": "A cat.", "tool_name": "f"}],
    [{"role": "assistant", "content": "A cat."}],
    [{"role": "user", "content": "Thanks."}],
]
PARTS = [
    [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                {"type": "image_url", "image_url": {"url": IMAGE}},
            ],
        }
    ],
    [{"role": "assistant", "content": [{"type": "text", "text": "Yes?"}]}],
    [
        {
            "role": "user",
            "content": [{"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}],
        }
    ],
]
BLOCKS = [
    [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "aGk="}}]}],
    [
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
            ],
        }
    ],
    [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "42"}]}],
]
ITEMS = [
    [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Six by seven?"}]}],
    [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "1"},
    ],
    [{"type": "function_call_output", "call_id": "1", "output": "42"}],
    [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "42."}]}],
    [{"role": "user", "content": "Sure?"}],
]


def bodies(kind: str) -> list[dict[str, Any]]:
    """The requests of one conversation, each longer by an answer and a question."""
    kinds: dict[str, tuple[Any, str, dict[str, Any]]] = {
        "chat": (CHAT, "messages", {"tools": TOOLS}),
        "parts": (PARTS, "messages", {}),
        "blocks": (BLOCKS, "messages", {"system": [{"type": "text", "text": "Be brief."}]}),
        "items": (ITEMS, "input", {"instructions": "Be brief."}),
    }
    history, name, head = kinds[kind]
    counts = range(1, len(history) + 1, 2)
    return [{"model": "m", **head, name: list(chain(*history[:count]))} for count in counts]


def prompt(body: dict[str, Any], *, block: int = 512) -> Prompt:
    return prompt_of(b"", conversation_pieces(body), block=block)


@pytest.mark.parametrize("kind", ["chat", "parts", "blocks", "items"])
def test_a_request_is_a_beginning_of_the_next_one(kind: str) -> None:
    requests = [conversation_pieces(body) for body in bodies(kind)]
    assert [len(pieces) for pieces in requests] == [1, 3, 5, 7][: len(requests)]
    for before, after in pairwise(requests):
        assert after[: len(before)] == before
        assert all(after)
        assert prompt_of(b"", after).answers[-1][0] == len(prompt_of(b"", before).keys)


@pytest.mark.parametrize("kind", ["chat", "parts", "blocks", "items"])
def test_everything_that_is_rendered_counts(kind: str) -> None:
    """Any text that changes gives other bytes; what was thought, and names of calls' answers, do not."""
    body = bodies(kind)[-1]
    whole = json.dumps(body)
    for old, new in [
        ("Hi.", "Ho."), ("A cat.", "A dog."), ("aGk=", "aGo="), ("Look:", "See:"), ("iVBOR", "iVBOS"),
        ("Yes?", "No?"), ("Be brief.", "Be long."), ("Six by seven?", "Six by nine?"),
        ('"42"', '"43"'), ('"f"', '"g"'),
    ]:  # fmt: skip
        changed = json.loads(whole.replace(old, new))
        assert (conversation_pieces(changed) != conversation_pieces(body)) is (old in whole), old
    without = json.loads(whole.replace("Hm.", "Hum.").replace("Greet.", "Say hello."))
    assert conversation_pieces(without) == conversation_pieces(body)


def test_one_system_prompt_and_one_first_message_do_not_make_one_conversation() -> None:
    """Keys of the first message only would send all of these to one node."""
    head = [{"role": "system", "content": "You are an agent. " * 200}, {"role": "user", "content": "Start."}]
    tails = [{"role": "assistant", "content": f"Step {i}."} for i in range(100)]
    chains = [prompt({"messages": [*head, tail]}).keys for tail in tails]
    assert len({keys[-1] for keys in chains}) == 100
    assert len({keys[:-1] for keys in chains}) == 1


def test_other_apis_ask_the_same_with_other_members() -> None:
    system, user = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}
    expected = conversation_pieces({"messages": [system, user]})
    for body in (
        {"messages": [{"role": "developer", "content": "Be brief."}, user]},
        {"system": "Be brief.", "messages": [user]},
        {"system": [{"type": "text", "text": "Be brief."}], "messages": [user]},
        {"instructions": "Be brief.", "input": "Hi."},
        {"Messages": [system, user]},
        {
            "instructions": "Be brief.",
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi."}]}],
        },
    ):
        assert conversation_pieces(body) == expected


def test_a_prompt_grows_at_its_end() -> None:
    text = "def f(x):\n" * 100
    short, long = prompt({"prompt": text}), prompt({"prompt": text + "    return"})
    assert short.keys[:1] == long.keys[:1] and short.keys != long.keys
    assert conversation_pieces({"prompt": text, "suffix": "a"}) != conversation_pieces(
        {"prompt": text, "suffix": "b"}
    )
    assert prompt({"prompt": text, "suffix": "a"}).keys[:1] == short.keys[:1]
    assert conversation_pieces({"prompt": text, "images": ["a"]}) != conversation_pieces({"prompt": text})
    assert conversation_pieces({"prompt": "a", "system": "b"}) != conversation_pieces({"prompt": "a"})


def test_tokens_of_earlier_turns_grow_at_their_end() -> None:
    tokens = list(range(1000))
    one, other = ({"context": tokens[:n]} for n in (600, 1000))
    assert len(prompt(one).keys) > 3
    assert prompt(one).keys[:-1] == prompt(other).keys[: len(prompt(one).keys) - 1]
    assert prompt({"prompt": tokens}).keys[:3] == prompt({"prompt": [*tokens, 1]}).keys[:3]


def test_images_are_not_hashed_whole_but_told_apart() -> None:
    images = ["a" * 10**6, "a" * 10**6 + "b", "b" + "a" * 10**6, "a" * (10**6 - 1)]
    found = {conversation_pieces({"messages": [{"role": "user", "images": [image]}]}) for image in images}
    assert len(found) == 4
    assert all(len(pieces[0]) < 100 for pieces in found)


def test_what_comes_after_the_limit_is_not_looked_at() -> None:
    messages = [{"role": "user", "content": "x" * 1000}] * 1000
    assert len(conversation_pieces({"messages": messages}, limit=5000)[0]) < 6100


@given(
    st.dictionaries(
        st.sampled_from(["messages", "input", "prompt", "system", "tools", "images", "context"]), ALL_JSON
    )
)
def test_anything_has_bytes(body: dict[str, Any]) -> None:
    assert all(isinstance(piece, bytes) for piece in conversation_pieces(body))
    json.dumps(session_of(body))


@given(st.lists(ALL_JSON, max_size=5), ALL_JSON)
def test_a_further_message_changes_nothing_before_it(messages: list[Any], message: Any) -> None:
    before, after = (
        b"".join(conversation_pieces({"messages": turns})) for turns in (messages, [*messages, message])
    )
    assert after.startswith(before)


def test_depths_are_survived() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    assert conversation_pieces({"system": "Be brief.", "messages": [{"role": "user", "content": deep}]})[0]


def test_a_session_of_openai_clients() -> None:
    assert session_of({"prompt_cache_key": "user-1"}) == "user-1"
    assert session_of({"prompt_cache_key": 5}) == session_of({}) == ""
