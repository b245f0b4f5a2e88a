"""Built-in Go templates, one file each, and the published Jinja chat templates that they stand in for (known.json).

Names, stop texts and what a template writes are Ollama's; a model made from a file whose chat template is known
gets the Go template of that name. Files are read when they are first asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import orjson

__all__ = ["STOPS", "BuiltinTemplate", "KnownChatTemplate", "builtin_template", "known_chat_templates"]

# Texts at which the engine stops, by name. Those of mistral-instruct are what ships, not what the model writes.
STOPS: dict[str, tuple[str, ...]] = {
    "alfred": ("<start_system>", "<end_message>", "<start_user>", "<start_assistant>"),
    "alpaca": ("### Instruction:", "### Response"),
    "chatml": ("<|im_start|>", "<|im_end|>"),
    "chatqa": ("System:", "User:", "Assistant:", "<|begin_of_text|>"),
    "codellama-70b-instruct": ("Source:", "Destination:", "<step>"),
    "command-r": ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    "falcon-instruct": ("User:", "Assistant:"),
    "gemma-instruct": ("<start_of_turn>", "<end_of_turn>"),
    "gemma3-instruct": ("<end_of_turn>",),
    "granite-instruct": ("System:", "Question:", "Answer:"),
    "llama2-chat": ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
    "llama3-instruct": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "magicoder": ("@@ Instruction", "@@ Response"),
    "mistral-instruct": ("<|im_start|>", "<|im_end|>"),
    "openchat": ("<|end_of_turn|>",),
    "phi-3": ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>"),
    "solar-instruct": ("### System:", "### User:", "### Assistant"),
    "starcoder2-instruct": ("### Instruction", "### Response", "<|endoftext|>"),
    "vicuna": ("USER:", "ASSISTANT:"),
    "zephyr": ("<|system|>", "</s>", "<|user|>", "<|assistant|>"),
}


@dataclass(frozen=True, slots=True)
class BuiltinTemplate:
    """A Go template, and the stop texts that go with it."""

    name: str
    text: str
    stop: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownChatTemplate:
    """A published Jinja text, and the name of the built-in template for it."""

    name: str
    text: str


@cache
def builtin_template(name: str) -> BuiltinTemplate:
    """Load a built-in template by its name.

    Raises:
        KeyError: there is none.
    """
    stop = STOPS[name]
    text = files(__package__).joinpath(f"{name}.gotmpl").read_bytes().decode("utf-8")
    return BuiltinTemplate(name, text, stop)


@cache
def known_chat_templates() -> tuple[KnownChatTemplate, ...]:
    """Load the published chat templates, in the order in which equally near ones win."""
    entries = orjson.loads(files(__package__).joinpath("known.json").read_bytes())
    return tuple(KnownChatTemplate(entry["name"], entry["text"]) for entry in entries)
