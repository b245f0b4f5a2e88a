"""What a model can do, and what `think` may be for it, as show and tags tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import corral.assets
from corral.chat.families.known import renderer_names
from corral.config import Settings
from corral.inference.chats import BuiltInChat, JinjaChat
from corral.inference.profile import ModelProfile, Profiles
from corral.library.think_values import thinking_member
from corral.names import ModelName
from corral.store.config_blob import ModelConfig
from corral.store.models import Model, ModelStore
from tests.conftest import FIXTURES, PLAIN_TEMPLATE, Server

ASSETS = Path(corral.assets.__file__).parent
TALK = "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}{{ end }}"
SWITCH = {"values": [False, True], "default": True}
LEVELS = {"values": ["low", "medium", "high"], "default": "medium"}
BOTH = {"values": [False, True, "low", "medium", "high"], "default": True}
ALL = {"values": [False, "low", "medium", "high"]}


def profile(fixture: str = "say", template: str | None = None, **config: Any) -> ModelProfile:
    name = ModelName.parse("m")
    weights = (ASSETS if fixture == "corral-tiny" else FIXTURES) / f"{fixture}.gguf"
    model = Model(name, "0" * 64, 0, 0, ModelConfig(**config), (), weights, template=template)
    return Profiles(Settings.from_env({"HOME": "/nowhere"}), ModelStore(Path("/nowhere"))).describe(model)


def gpt_oss(template: str) -> ModelProfile:
    return profile(template=template, family="gptoss")


@pytest.mark.parametrize(
    ("found", "member"),
    [
        (profile(template=PLAIN_TEMPLATE), None),
        (profile("embed"), None),
        (profile(template=TALK), SWITCH),
        (profile(template=TALK + "{{ if .Think }}{{ .ThinkLevel }}{{ end }}"), BOTH),
        (profile(template=TALK + "{{ .ThinkLevel }}"), LEVELS),
        (gpt_oss("<|start|>{{ range .Messages }}{{ .Content }}{{ end }}<|end|>"), LEVELS),
        (profile("corral-tiny"), SWITCH),
        (profile("jinja-tools"), None),
        (profile(renderer="qwen3.5", parser="qwen3.5"), SWITCH),
        (profile(renderer="qwen3.8", parser="qwen3.5"), {**ALL, "default": "medium"}),
        (profile(renderer="glimmer", parser="glimmer"), {**ALL, "default": "high"}),
        (profile(renderer="nemotron-3.5-nano", parser="qwen3.5"), {**SWITCH, "values": [False, True, "medium"]}),
        (profile(renderer="olmo3-think", parser="olmo3-think"), {"values": [True], "default": True}),
        (profile(renderer="qwen3-coder", parser="qwen3-coder"), None),
        (profile(renderer="tev1", parser="tev1"), None),
    ],
)  # fmt: skip
def test_values_of_think(found: ModelProfile, member: Any) -> None:
    """A switch, levels, both, or nothing for models that do not think."""
    assert thinking_member(found) == member


@pytest.mark.parametrize("renderer", renderer_names())
def test_a_default_is_one_of_the_values(renderer: str) -> None:
    """Whatever the renderer."""
    member = thinking_member(profile(renderer=renderer, parser="qwen3.5"))
    assert member is None or member["default"] in member["values"]


def test_decision_models() -> None:
    """They list nothing else; `tev1` has Qwen3.5's prompts, `clef` those of its weights' own template."""
    tev1, clef = profile(renderer="tev1", parser="tev1"), profile("tiny", renderer="clef", parser="clef")
    assert tev1.capabilities == clef.capabilities == ("decision",)
    assert isinstance(tev1.chat, BuiltInChat) and tev1.chat.renderer.name == "tev1"
    assert isinstance(clef.chat, JinjaChat)
    assert tev1.chat.replies.parser is not None and clef.chat.replies.parser is not None


def test_show_and_tags_say_the_same(server: Server) -> None:
    """Of every fixture, with templates of both kinds, a projector and built-in parsers."""
    server.create("caps-jinja", "jinja-tools")
    server.create("caps-tools", "say", template="{{ range .Tools }}{{ . }}{{ end }}{{ .Suffix }}" + TALK)
    server.create("caps-own", "tiny", template="{{ .Prompt }}")
    server.create("caps-parser", "say", renderer="qwen3.5", parser="qwen3.5")
    digests = {f"{name}.gguf": server.upload(FIXTURES / f"{name}.gguf") for name in ("say", "mmproj")}
    server.post("/api/create", {"model": "caps-sees", "files": digests, "stream": False})
    entries = {model["name"]: model for model in server.get("/api/tags")["models"]}
    assert {"caps-jinja:latest", "caps-sees:latest", "tiny:latest", "embed:latest"} <= entries.keys()
    for name, entry in entries.items():
        shown = server.post("/api/show", {"model": name})
        assert sorted(shown["capabilities"]) == sorted(entry["capabilities"]), name
        assert ("thinking" in shown) == ("thinking" in shown["capabilities"])
    assert "vision" in entries["caps-sees:latest"]["capabilities"]
    assert "tools" in entries["caps-jinja:latest"]["capabilities"]
    assert server.post("/api/show", {"model": "caps-parser"})["thinking"] == SWITCH
