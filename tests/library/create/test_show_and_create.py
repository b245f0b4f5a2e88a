"""A model, the Modelfile that show prints of it, and the model that a create makes of that: the same."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corral.golang.json import shorten_float32
from corral.library.create.modelfile_member import with_modelfile
from corral.library.create.request import CreateRequest
from corral.library.create.service import Creator
from corral.library.modelfile_text import modelfile_of
from corral.names import ModelName
from corral.store.models import Model, ModelStore
from tests.conftest import FIXTURES

# No surrogates, which no JSON body brings here; no braces, which templates would read.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="{}"), min_size=1, max_size=30
) | st.lists(
    st.sampled_from(['"""', '"', "\n", "\r\n", " ", "a", "FROM x", "\u200d", "END"]), min_size=1, max_size=8
).map("".join)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "template": TEXTS,
        "system": TEXTS,
        "license": st.lists(TEXTS, min_size=1, max_size=3),
        "renderer": st.just("some-renderer"),
        "parser": st.just("some-parser"),
        "parameters": st.fixed_dictionaries(
            {},
            optional={
                "stop": st.lists(TEXTS, min_size=1, max_size=3),
                "num_ctx": st.integers(0, 1 << 40),
                "temperature": st.floats(0, 1e6, width=32).map(shorten_float32),
                "use_mmap": st.booleans(),
            },
        ),
        "raw_messages": st.lists(
            st.builds(
                lambda role, content: {"role": role, "content": content},
                st.sampled_from(["system", "user", "assistant"]),
                TEXTS,
            ),
            min_size=1,
            max_size=3,
        ),
    },
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    store = ModelStore(Path(tmp_path_factory.mktemp("models")))
    store.blobs.put_bytes((FIXTURES / "say.gguf").read_bytes())
    return store


def create(store: ModelStore, request: CreateRequest) -> Model:
    async def quiet(_event: dict[str, Any]) -> None:
        """Nobody watches."""

    asyncio.run(Creator(store, may_prune=False).create(request, quiet))
    return store.load(ModelName.parse(request.model))


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=REQUESTS)
def test_the_same_model_again(store: ModelStore, fields: dict[str, Any]) -> None:
    """Config, layers and their order are the same, whatever the texts are."""
    digest = hashlib.sha256((FIXTURES / "say.gguf").read_bytes()).hexdigest()
    first = create(store, CreateRequest(model="first", files={"m.gguf": f"sha256:{digest}"}, **fields))
    text = modelfile_of(
        first,
        template=first.template or "",
        system=first.system,
        parameters=first.parameters,
        program="corral",
    )
    again = create(store, with_modelfile(CreateRequest(model="again"), text, store.blobs))
    assert again.config == first.config
    kinds = [{layer.kind: layer.digest for layer in model.layers} for model in (first, again)]
    assert kinds[0] == kinds[1]
    assert again.licenses == first.licenses
