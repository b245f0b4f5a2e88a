"""Built-in templates: their output, and finding them by a model file's chat template."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.chat.gotemplate import Template
from corral.chat.templates.builtin import STOPS, builtin_template, known_chat_templates
from corral.chat.templates.detection import MAX_DISTANCE, detect, edit_distance
from corral.chat.templates.gochat import render_messages
from corral.types import Message

CONVERSATION = [
    Message("system", "S"),
    Message("user", "U1"),
    Message("assistant", "A1"),
    Message("user", "U2"),
]
OUTPUTS = {
    "alfred": (
        "<start_system>S<end_message><start_user>U1<end_message><start_assistant>A1<end_message><"
        "start_user>U2<end_message><start_assistant>"
    ),
    "alpaca": "S\n\n### Instruction:\nU1\n\n### Response:\nA1\n\n### Instruction:\nU2\n\n### Response:\n",
    "chatml": (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n<|im_start|>assistant\nA1<|i"
        "m_end|>\n<|im_start|>user\nU2<|im_end|>\n<|im_start|>assistant\n"
    ),
    "chatqa": "System: S\n\nUser: U1\n\nAssistant: A1\n\nUser: U2\n\nAssistant:",
    "codellama-70b-instruct": (
        "Source: system\n\n S <step> Source: user\n\n U1 <step> Source: assistant\n\n A1 <step> Source:"
        " user\n\n U2 <step> Source: assistant\nDestination: user\n\n "
    ),
    "command-r": (
        "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>S<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|US"
        "ER_TOKEN|>U1<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>A1<|END_OF_TURN"
        "_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>U2<|END_OF_TURN_TOKEN|><|END_OF_TURN_TOKEN|"
        "><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>\n"
    ),
    "falcon-instruct": "System: S\nUser:\nU1\nFalcon:\nA1\nUser:\nU2\nFalcon:\n",
    "gemma-instruct": (
        "<start_of_turn>user\nS\nU1<end_of_turn>\n<start_of_turn>model\nA1<end_of_turn>\n<start_of_tur"
        "n>user\nU2<end_of_turn>\n<start_of_turn>model\n"
    ),
    "gemma3-instruct": (
        "<start_of_turn>user\nS\n\nU1<end_of_turn>\n<start_of_turn>model\nA1<end_of_turn>\n<start_of_tu"
        "rn>user\nU2<end_of_turn>\n<start_of_turn>model\n\n"
    ),
    "granite-instruct": "System:\nS\n\nQuestion:\nU1\n\nAnswer:\nA1\n\nQuestion:\nU2\n\nAnswer:\n",
    "llama2-chat": "[INST] <<SYS>>\nS\n<</SYS>>\n\nU1 [/INST] A1</s><s>[INST] <<SYS>><</SYS>>\n\nU2 [/INST]",
    "llama3-instruct": (
        "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_head"
        "er_id|>\n\nU1<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|><|start_"
        "header_id|>user<|end_header_id|>\n\nU2<|eot_id|><|start_header_id|>assistant<|end_header_i"
        "d|>\n\n"
    ),
    "magicoder": "S\n\n@@ Instruction\nU1\n\n@@ Response\nA1\n\n@@ Instruction\nU2\n\n@@ Response\n",
    "mistral-instruct": "[INST] S\n\nU1[/INST] A1</s>[INST] U2[/INST]",
    "openchat": (
        "GPT4 Correct System: S<|end_of_turn|>GPT4 Correct User: U1<|end_of_turn|>GPT4 Correct As"
        "sistant: A1<|end_of_turn|>GPT4 Correct User: U2<|end_of_turn|>GPT4 Correct Assistant:"
    ),
    "phi-3": (
        "<|system|>\nS<|end|>\n<|user|>\nU1<|end|>\n<|assistant|>\nA1<|end|>\n<|user|>\nU2<|end|>\n<|assi"
        "stant|>\n"
    ),
    "solar-instruct": "### System:\nS\n\n### User:\n"
    "U1\n\n### Assistant:\nA1</s>\n\n### User:\nU2\n\n### Assistant:\n",
    "starcoder2-instruct": "S\n\n### Instruction\n"
    "U1\n\n### Response\nA1<|endoftext|>\n\n### Instruction\nU2\n\n### Response\n",
    "vicuna": "S\n\nUSER: U1\nASSISTANT: A1</s>\nUSER: U2\nASSISTANT:",
    "zephyr": "<|system|>\nS</s>\n<|user|>\nU1</s>\n<|assistant|>\nA1</s>\n<|user|>\nU2</s>\n<|assistant|>\n",
}
# SHA-256 prefixes of published chat templates.
PUBLISHED = """
071cfb2d4c797ad4 153280e3ff55d19d 230527c8a608cf3a 268b6082ceb7176d 26a59556925c9873 2c575663fbb6c03a
3ce2fe9753f9a77a 58c1a1f04baa7ada 605841622bcb6572 66291cf0045c2425 6de66c5b4eb23df8 75678d4630858651
793202280c0910ab 7de1c58e208eda46 7e995b379ec01747 901b10d47195fadb 993c0af704bad76a 9db2cf47ce03bfd0
a805e50fed68938a af9c0233881b083b b0e53f5e7bae6fdb b8e5e922a7a4ab5d ba03a121d097859c e10ca381b1ccc5cf
e84ee90c8a81a15d e8d5b5a546d3f19d ea2472f29dbd93c3 ecd6ae513fe103f0 f02c534193010c4b f42d04ffb2e487fa
f6084d6ec1cb3238 faf1f8b675beeabd
""".split()
CHATML = next(
    known.text for known in known_chat_templates() if known.name == "chatml" and len(known.text) == 196
)


@pytest.mark.parametrize("name", sorted(STOPS))
def test_output_of_built_in_templates(name: str) -> None:
    """Each one writes its format for a system text and two turns."""
    assert render_messages(Template.parse(builtin_template(name).text), CONVERSATION) == OUTPUTS[name]


def test_known_texts_are_as_published() -> None:
    """A chat template that was retyped wrongly would be of no use: all have the published hash."""
    hashes = {sha256(known.text.encode()).hexdigest()[:16] for known in known_chat_templates()}
    assert hashes == set(PUBLISHED)


def test_known_texts_find_their_template() -> None:
    """A published text finds the template that is registered for it."""
    for known in known_chat_templates():
        found = detect(known.text)
        assert found is not None
        assert (found.name, found.stop) == (known.name, STOPS[known.name])


@pytest.mark.parametrize(("extra", "name"), [(MAX_DISTANCE - 1, "chatml"), (MAX_DISTANCE, None)])
def test_distance_bound(extra: int, name: str | None) -> None:
    """A text must be less than the bound away."""
    found = detect(CHATML + "{#" + "x" * (extra - 4) + "#}")
    assert (found and found.name) == name


@pytest.mark.parametrize("text", ["", "{{ messages }}", "x" * 1_000_000])
def test_unknown_texts(text: str) -> None:
    """Texts like none of the known ones find nothing."""
    assert detect(text) is None


def _distance_by_table(left: str, right: str) -> int:
    row = list(range(len(right) + 1))
    for i, char in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (char != other))
    return row[-1]


@given(st.text("abé", max_size=80), st.text("abé", max_size=80))
def test_edit_distance_is_that_of_the_textbook(left: str, right: str) -> None:
    """The bit-parallel distance equals the one computed cell by cell."""
    assert edit_distance(left, right) == _distance_by_table(left, right)
