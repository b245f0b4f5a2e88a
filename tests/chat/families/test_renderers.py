"""What the registry tells about a renderer, and the refusals that belong to one family."""

from __future__ import annotations

import datetime

import pytest

from corral.chat.families.family import Renderer
from corral.chat.families.known import find_renderer, renderer_names
from corral.errors import TemplateError
from corral.types import Message, Think

_WITHOUT_IMAGE_TAGS = {
    "qwen3-coder",
    "olmo3",
    "olmo3.1",
    "olmo3-think",
    "olmo3-32b-think",
    "glm-4.7",
    "deepseek3.1",
    "cogito",
    "functiongemma",
    "laguna",
    "poolside-v1",
    "cohere",
}
_BOS = {
    "cogito": "<｜begin▁of▁sentence｜>",
    "deepseek3.1": "<｜begin▁of▁sentence｜>",
    "gemma4": "<bos>",
    "gemma4-small": "<bos>",
    "gemma4-large": "<bos>",
    "functiongemma": "<bos>",
    "lfm2": "<|startoftext|>",
    "lfm2-thinking": "<|startoftext|>",
    "laguna": "〈|EOS|〉",
    "poolside-v1": "〈|EOS|〉",
    "cohere": "<BOS_TOKEN>",
    "glimmer": "<|begin_of_text|>",
}
_HI = [Message("user", "Hi")]


def _find(name: str) -> Renderer:
    info = find_renderer(name)
    assert info is not None
    return info


@pytest.mark.parametrize("name", ["", "nope", "Gemma4", "qwen3-coder ", "QWEN3.5"])
def test_unknown_name(name: str) -> None:
    """A name is matched exactly, letter case included."""
    assert find_renderer(name) is None


@pytest.mark.parametrize("name", renderer_names())
def test_facts(name: str) -> None:
    """Name, image tags and the beginning-of-text mark are those of the family."""
    info = _find(name)
    assert info.name == name
    assert info.has_image_tags is (name not in _WITHOUT_IMAGE_TAGS), "see _WITHOUT_IMAGE_TAGS"
    assert info.bos == _BOS.get(name, ""), "see _BOS"


@pytest.mark.parametrize("name", sorted(set(_BOS) - {"cohere"}))
def test_bos_stands_first(name: str) -> None:
    """What may be cut from the front is what the prompt starts with."""
    assert _find(name).render(_HI, [], None).startswith(_BOS[name])


def test_cohere_leaves_bos_to_the_tokenizer() -> None:
    """Cohere names a mark but does not write it."""
    assert "<BOS_TOKEN>" not in _find("cohere").render(_HI, [], None)


@pytest.mark.parametrize("name", renderer_names())
def test_inputs_stay_as_they_are(name: str) -> None:
    """Rendering twice gives the same prompt and leaves the messages alone."""
    messages = [Message("system", "S"), Message("user", "Q"), Message("assistant", "A"), Message("user", "R")]
    before = list(messages)
    info = _find(name)
    assert info.render(messages, [], True) == info.render(messages, [], True)
    assert messages == before


def test_date_is_local_unless_given() -> None:
    """Glimmer mentions the date: today's, or the one given."""
    info = _find("glimmer")
    given = info.render(_HI, [], None, today=datetime.date(2031, 5, 4))
    assert "Current date: 2031-05-04." in given
    before = datetime.date.today().isoformat()
    prompt = info.render(_HI, [], None)
    assert before in prompt or datetime.date.today().isoformat() in prompt


@pytest.mark.parametrize(
    ("model_name", "parameter_count", "is_large"),
    [
        ("gemma4:e2b", 0, False),
        ("gemma4:E4B-it", 31_000_000_000, False),
        ("gemma4:26b-it", 0, True),
        ("me/Gemma-31B", 1, True),
        ("gemma4:12b", 0, True),
        ("31b-e2b", 0, False),
        ("mine", 11_999_999_999, False),
        ("mine", 12_000_000_000, True),
        ("mine", 0, False),
    ],
)
def test_gemma4_size(model_name: str, parameter_count: int, is_large: bool) -> None:
    """The name tells the size of Gemma 4 before the parameter count does."""
    prompt = _find("gemma4").render(_HI, [], False, model_name=model_name, parameter_count=parameter_count)
    assert prompt.endswith("<|channel>thought\n<channel|>") is is_large


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([], "no messages provided"),
        ([Message("system", "S")], "no user query found in messages"),
        ([Message("user", "<tool_response>\nx\n</tool_response>")], "no user query found in messages"),
        (
            [Message("system", "S", images=(b"i",)), Message("user", "Q")],
            "system message cannot contain images",
        ),
        (
            [Message("user", "Q"), Message("developer", "D", images=(b"i",))],
            "system message cannot contain images",
        ),
    ],
)
def test_qwen3_8_refusals(messages: list[Message], text: str) -> None:
    """Qwen3.8 says why it cannot render a conversation."""
    with pytest.raises(TemplateError) as caught:
        _find("qwen3.8").render(messages, [], None)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("think", "start"),
    [
        (None, "Reasoning effort is set to xhigh."),
        ("high", "Reasoning effort is set to xhigh."),
        ("max", "Reasoning effort is set to xhigh."),
        ("low", "Reasoning effort is set to low."),
        ("medium", ""),
        (True, ""),
        (False, ""),
    ],
)
def test_qwen3_8_effort(think: Think, start: str) -> None:
    """The effort line of Qwen3.8 follows the level; a plain yes or no has none."""
    prompt = _find("qwen3.8").render(_HI, [], think)
    assert prompt.startswith(f"<|im_start|>system\n{start}" if start else "<|im_start|>user\n")


@pytest.mark.parametrize(
    ("think", "word"), [(None, "high"), (True, "high"), (False, "none"), ("low", "low"), ("max", "max")]
)
def test_glimmer_strength(think: Think, word: str) -> None:
    """Glimmer names the level itself."""
    assert f"Reasoning strength: {word}." in _find("glimmer").render(_HI, [], think)
