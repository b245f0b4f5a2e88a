"""What a set of files makes: one model of what belongs together, and an error where two things are named."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from corral.config import Settings
from corral.errors import InvalidRequestError
from corral.inference.chats import GoTemplateChat, JinjaChat
from corral.inference.profile import Profiles
from corral.library.create.request import CreateRequest
from corral.library.create.service import Creator
from corral.library.modelfile_text import format_parameters
from corral.library.models import Library, ShowRequest
from corral.names import ModelName
from corral.store.models import Model, ModelStore
from tests.conftest import FIXTURES
from tests.weights.gguf.edit import edited

# Unlike every published chat template, so that no built-in one takes its place.
OWN_TEMPLATE = (
    "{# " + "a remark " * 60 + "#}{% for m in messages %}<<{{ m.role }}>>{{ m.content }}{% endfor %}<<go>>"
)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def put(store: ModelStore, path: Path) -> str:
    return str(store.blobs.put_bytes(path.read_bytes()).digest)


def create(store: ModelStore, model: str, **fields: Any) -> Model:
    async def quiet(_event: dict[str, Any]) -> None:
        """Nobody watches."""

    asyncio.run(Creator(store, may_prune=False).create(CreateRequest(model=model, **fields), quiet))
    return store.load(ModelName.parse(model))


def kinds(model: Model) -> list[str]:
    return [layer.kind for layer in model.layers if layer.kind in ("model", "projector", "adapter")]


def test_two_models(store: ModelStore, tmp_path: Path) -> None:
    """Two quantisations in one folder: both are named, nothing is made."""
    other = edited(FIXTURES / "tiny.gguf", tmp_path / "o.gguf", {"general.name": ("other", "string")})
    files = {"m-Q8_0.gguf": put(store, FIXTURES / "tiny.gguf"), "m-Q4_K_M.gguf": put(store, other)}
    with pytest.raises(InvalidRequestError, match=r"2 models.*m-Q4_K_M\.gguf and m-Q8_0\.gguf"):
        create(store, "two", files=files)
    assert store.list() == []


def test_the_same_file_twice(store: ModelStore) -> None:
    """Two names of one content are no choice to make."""
    digest = put(store, FIXTURES / "tiny.gguf")
    assert kinds(create(store, "m", files={"a.gguf": digest, "b.gguf": digest})) == ["model"]


def test_two_projectors(store: ModelStore, tmp_path: Path) -> None:
    """The engine takes one; a model with it is fine."""
    other = edited(FIXTURES / "mmproj.gguf", tmp_path / "o.gguf", {"general.name": ("other", "string")})
    model, projector = put(store, FIXTURES / "tiny.gguf"), put(store, FIXTURES / "mmproj.gguf")
    assert kinds(create(store, "m", files={"m.gguf": model, "p.gguf": projector})) == ["model", "projector"]
    files = {"m.gguf": model, "mmproj-BF16.gguf": projector, "mmproj-F16.gguf": put(store, other)}
    with pytest.raises(InvalidRequestError, match=r"2 projectors.*mmproj-BF16\.gguf and mmproj-F16\.gguf"):
        create(store, "m2", files=files)


@pytest.mark.process
def test_what_belongs_together(store: ModelStore) -> None:
    """A model with an adapter, and the parts of a split model in any letter case."""
    files = {"m.gguf": put(store, FIXTURES / "tiny.gguf"), "lora.gguf": put(store, FIXTURES / "lora.gguf")}
    assert sorted(kinds(create(store, "m", files=files))) == ["adapter", "model"]
    parts = {f"t-0000{i}-of-00002.GGUF": put(store, FIXTURES / f"split-{i}.gguf") for i in (1, 2)}
    assert kinds(create(store, "s", files=parts)) == ["model"]


def test_two_split_models(store: ModelStore, tmp_path: Path) -> None:
    """Each counts as one."""
    parts = {}
    for i in (1, 2):
        other = edited(FIXTURES / f"split-{i}.gguf", tmp_path / "o.gguf", {"general.name": ("b", "string")})
        parts[f"a-0000{i}-of-00002.gguf"] = put(store, FIXTURES / f"split-{i}.gguf")
        parts[f"b-0000{i}-of-00002.gguf"] = put(store, other)
    with pytest.raises(InvalidRequestError, match=r"a-00001-of-00002\.gguf and b-00001-of-00002\.gguf"):
        create(store, "s", files=parts)


def test_two_kinds_of_weights(store: ModelStore) -> None:
    """Not whichever name comes first."""
    digest = put(store, FIXTURES / "tiny.gguf")
    with pytest.raises(InvalidRequestError, match=r"a\.gguf and model\.safetensors"):
        create(store, "m", files={"model.safetensors": digest, "a.gguf": digest})


@pytest.fixture
def own(store: ModelStore, tmp_path: Path) -> Path:
    values = {"tokenizer.chat_template": (OWN_TEMPLATE, "string")}
    return edited(FIXTURES / "tiny.gguf", tmp_path / "own.gguf", values)


def printed(store: ModelStore, name: str) -> str:
    settings = Settings.from_env({"OLLAMA_MODELS": str(store.folder)})
    library = Library(settings, store, Profiles(settings, store))
    return str(library.show(ShowRequest(name))["modelfile"])


def chat_of(store: ModelStore, name: str) -> type:
    settings = Settings.from_env({"OLLAMA_MODELS": str(store.folder)})
    return type(Profiles(settings, store).describe(store.load(ModelName.parse(name))).chat)


def test_a_template_that_is_not_there(store: ModelStore, own: Path) -> None:
    """Weights with a chat template of their own: no TEMPLATE is printed, without one it is the default's."""
    create(store, "own", files={"m.gguf": put(store, own)})
    create(store, "bare", files={"m.gguf": put(store, FIXTURES / "tiny-notmpl.gguf")})
    assert "TEMPLATE" not in printed(store, "own")
    assert "TEMPLATE {{ .Prompt }}" in printed(store, "bare")


@pytest.mark.parametrize("template", ["{{ .Prompt }}", "{{.Prompt}}", " {{- .Prompt -}}\n"])
def test_the_plain_template_over_a_chat_template(store: ModelStore, own: Path, template: str) -> None:
    """An old printed Modelfile: the chat template goes on making the prompts."""
    digest = put(store, own)
    create(store, "own", files={"m.gguf": digest})
    first = create(store, "first", files={"m.gguf": digest}, template=template)
    second = create(store, "second", from_="own", template=template, parameters={"temperature": 0.5})
    for model in (first, second):
        assert model.template is None
        assert chat_of(store, model.name.short()) is JinjaChat


def test_the_plain_template_of_an_old_copy(store: ModelStore, own: Path, tmp_path: Path) -> None:
    """A copy that was made with it before, here or by Ollama, renders as the weights say too."""
    create(store, "own", files={"m.gguf": put(store, own)})
    create(store, "other", from_="own", template="{{ .System }}{{ .Prompt }}")
    old = create(store, "old", from_="other", template="{{ .Prompt }}")
    assert old.template == "{{ .Prompt }}"
    assert chat_of(store, "old") is JinjaChat
    assert chat_of(store, "other") is GoTemplateChat


@pytest.mark.parametrize(
    ("name", "value", "modelfile", "text"),
    [
        ("temperature", 1e-07, "1e-07", "1e-07"),
        ("presence_penalty", 12345678.5, "1.23456785e+07", "1.23456785e+07"),
        ("temperature", 0.7, "0.7", "0.7"),
        ("temperature", 1000000, "1e+06", "1e+06"),
        ("num_ctx", 1048576, "1048576", "1048576"),
        ("seed", 1e7, "10000000", "10000000"),
        ("use_mmap", False, "false", "false"),
        ("stop", 'a\x7f\v\u200b"\\', 'a\x7f\v\u200b"\\', '"a\\x7f\\v\\u200b\\"\\\\"'),
    ],
)
def test_printed_parameters(store: ModelStore, name: str, value: Any, modelfile: str, text: str) -> None:
    """Numbers as Go prints them, but that whole ones stay readable for a Modelfile; texts as Go quotes them."""
    create(store, "m", files={"m.gguf": put(store, FIXTURES / "tiny.gguf")}, parameters={name: value})
    assert f"PARAMETER {name} {modelfile}\n" in printed(store, "m")
    assert format_parameters({name: value}) == f"{name:30} {text}"
