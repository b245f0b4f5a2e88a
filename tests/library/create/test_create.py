"""Create on a real server: weights of every kind, what a failure leaves, and the old ways of asking."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.conftest import FIXTURES, Server
from tests.doubles.sentence_model import model_files, reference_embedding
from tests.extras import need

if TYPE_CHECKING:
    import ollama

WIDE = FIXTURES / "wide-f16.gguf"
SPLIT = {"t-00001-of-00002.gguf": "split-1", "t-00002-of-00002.gguf": "split-2"}


@pytest.fixture(scope="module")
def maker(process: None) -> Iterator[Server]:
    """A server whose store nobody else changes."""
    server = Server()
    try:
        server.create("base", "tiny-notmpl")
        yield server
    finally:
        server.close()


@pytest.fixture
def client(maker: Server) -> Iterator[ollama.Client]:
    need("ollama")
    import ollama

    client = ollama.Client(host=maker.base)
    yield client
    client._client.close()


def blobs(server: Server) -> set[str]:
    return {path.name for path in (server.folder / "blobs").iterdir()}


def statuses(events: list[dict[str, Any]]) -> list[str]:
    """Distinct statuses in order; digests left out."""
    texts = [event.get("status", event.get("error", "")).partition(" sha256:")[0] for event in events]
    return [text for i, text in enumerate(texts) if i == 0 or texts[i - 1] != text]


def test_safetensors_by_the_official_package(client: ollama.Client) -> None:
    """create with files, streamed: a folder is converted, and its vectors are those of an independent computation."""
    files = {name: client.create_blob(path) for name, path in model_files().items()}
    events = [event.model_dump() for event in client.create("minilm", files=files, stream=True)]
    assert statuses(events) == [
        "converting model",
        "verifying conversion",
        "creating new layer",
        "writing manifest",
        "success",
    ]
    totals = [(event["completed"], event["total"]) for event in events if event.get("total")]
    assert totals, "progress in bytes"
    assert totals[-1][0] == totals[-1][1]
    vector = np.array(client.embed("minilm", "the cat sat on the mat")["embeddings"][0])
    assert float(vector @ reference_embedding("the cat sat on the mat".split())) >= 0.9999


def test_safetensors_quantized(maker: Server) -> None:
    """Conversion, then quantising; the step between is not kept."""
    files = {name: maker.upload(path) for name, path in model_files().items()}
    before = blobs(maker)
    events = maker.stream("/api/create", {"model": "mini8", "files": files, "quantize": "q8_0"})
    assert "quantizing F32 model to Q8_0" in statuses(events)
    assert maker.post("/api/show", {"model": "mini8"})["details"]["quantization_level"] == "Q8_0"
    added = [
        path for path in blobs(maker) - before if (maker.folder / "blobs" / path).stat().st_size > 1 << 20
    ]
    assert len(added) == 1
    vector = np.array(maker.post("/api/embed", {"model": "mini8", "input": "rain"})["embeddings"][0])
    assert float(vector @ reference_embedding(["rain"])) >= 0.99


@pytest.mark.parametrize("level", ["Q8_0", "q4_K_M", "q6_k", "Q4_0"])
def test_quantize(maker: Server, level: str) -> None:
    """Weights of another type, progress with totals, and a model that still answers."""
    body = {"model": "q", "files": {"w.gguf": maker.upload(WIDE)}, "quantize": level}
    events = maker.stream("/api/create", body)
    title = f"quantizing F16 model to {level.upper()}"
    progress = [event for event in events if event["status"] == title]
    assert progress[-1]["completed"] == progress[-1]["total"] > 0
    shown = maker.post("/api/show", {"model": "q"})
    assert shown["details"]["quantization_level"] == level.upper()
    answer = maker.post(
        "/api/generate", {"model": "q", "prompt": "the", "stream": False, "options": {"num_predict": 3}}
    )
    assert answer["done"]


def test_quantize_a_model_of_the_store(maker: Server) -> None:
    """`from` with `quantize`: new weights, the texts stay, and the source is as it was."""
    maker.create("full", "wide-f16", system="Hello.")
    events = maker.stream("/api/create", {"model": "small", "from": "full", "quantize": "Q4_K"})
    assert events[-1] == {"status": "success"}
    shown = maker.post("/api/show", {"model": "small"})
    assert (shown["details"]["quantization_level"], shown["system"]) == ("Q4_K_M", "Hello.")
    assert shown["details"]["parent_model"] == ""
    assert maker.post("/api/show", {"model": "full"})["details"]["quantization_level"] == "F16"
    status, data = maker.request(
        "POST", "/api/create", {"model": "x", "from": "small", "quantize": "Q8_0", "stream": False}
    )
    assert (status, json.loads(data)["error"]) == (
        500,
        "quantization is only supported for F16, BF16 and F32 models",
    )


@pytest.mark.parametrize("level", ["f16", " F16", "F16 "])
def test_quantize_to_the_same_type(maker: Server, level: str) -> None:
    """Nothing to do is no error, and blanks around a type do not count."""
    body = {"model": "q", "files": {"w.gguf": maker.upload(WIDE)}, "quantize": level, "stream": False}
    assert maker.post("/api/create", body) == {"status": "success"}
    assert maker.post("/api/create", {"model": "r", "from": "q", "quantize": level, "stream": False})
    assert maker.post("/api/create", {"model": "e", "from": "q", "quantize": "q8_0 ", "stream": False})
    assert maker.post("/api/create", {"model": "e", "from": "e", "quantize": "Q8_0", "stream": False})


def test_importance_matrix(maker: Server, tmp_path: Path) -> None:
    """Types that need a matrix are refused without one, and made with one that was uploaded."""
    files = {"w.gguf": maker.upload(WIDE)}
    body = {"model": "iq", "files": files, "quantize": "IQ2_XXS", "stream": False}
    status, data = maker.request("POST", "/api/create", body)
    assert status >= 400
    assert "importance matrix" in json.loads(data)["error"]
    matrix = tmp_path / "imatrix.dat"
    matrix.write_bytes(make_imatrix(WIDE))
    assert maker.post("/api/create", {**body, "imatrix": maker.upload(matrix)}) == {"status": "success"}
    assert maker.post("/api/show", {"model": "iq"})["details"]["quantization_level"] == "IQ2_XXS"
    status, data = maker.request(
        "POST", "/api/create", {**body, "quantize": "", "imatrix": maker.upload(matrix)}
    )
    assert (status, "set quantize" in json.loads(data)["error"]) == (400, True)


def make_imatrix(model: Path) -> bytes:
    """An importance matrix of llama-imatrix's older form, every column as important as the next."""
    from corral.weights.gguf import GGUFFile

    tensors = [t for t in GGUFFile.open(model).tensors if len(t.shape) == 2]
    parts = [np.int32(len(tensors)).tobytes()]
    for tensor in tensors:
        name = tensor.name.encode()
        parts += [np.int32(len(name)).tobytes(), name, np.array([1, tensor.shape[0]], "<i4").tobytes()]
        parts.append(np.ones(tensor.shape[0], "<f4").tobytes())
    return b"".join(parts)


def test_split_files(maker: Server) -> None:
    """Parts become one model, in whichever order they are named."""
    files = {name: maker.upload(FIXTURES / f"{fixture}.gguf") for name, fixture in reversed(SPLIT.items())}
    events = maker.stream("/api/create", {"model": "split", "files": files})
    assert statuses(events)[:2] == ["parsing GGUF", "validating GGUF model"]
    info = maker.post("/api/show", {"model": "split"})["model_info"]
    assert info["general.parameter_count"] == 122560
    assert not [key for key in info if "split" in key]
    reply = maker.post(
        "/api/generate", {"model": "split", "prompt": "the", "stream": False, "options": {"num_predict": 2}}
    )
    assert reply["done"]
    status, data = maker.request(
        "POST", "/api/create", {"model": "x", "files": dict([next(iter(files.items()))]), "stream": False}
    )
    assert (status, json.loads(data)["error"]) == (
        500,
        'split GGUF "t-00002-of-00002.gguf" has 1 shards, expected 2',
    )


def test_adapter_projector_and_messages(maker: Server, client: ollama.Client) -> None:
    """Everything else that a model may have, in one create by the official package."""
    client.create(
        "all",
        files={
            "m.gguf": client.create_blob(FIXTURES / "tiny.gguf"),
            "p.gguf": client.create_blob(FIXTURES / "mmproj-bare.gguf"),
        },
        adapters={"l.gguf": client.create_blob(FIXTURES / "lora.gguf")},
        template="{{ .System }}{{ .Prompt }}",
        system="S",
        license=["MIT", "Apache-2.0"],
        parameters={"temperature": 0.5, "stop": ["x"]},
        messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
    )
    shown = client.show("all")
    assert "ADAPTER" in (shown.modelfile or "")
    raw = maker.post("/api/show", {"model": "all"})
    assert raw["projector_info"]["clip.projector_type"] == "mlp"
    assert raw["license"] == "MIT\nApache-2.0"
    assert [m["content"] for m in raw["messages"]] == ["hi", "ho"]
    assert raw["parameters"].split() == ["stop", '"x"', "temperature", "0.5"]


def test_safetensors_adapter(maker: Server, tmp_path: Path) -> None:
    """A PEFT folder becomes an adapter of the weights that it is for, and changes what they say."""
    random = np.random.default_rng(0)
    stem = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    tensors = {f"{stem}A.weight": random.normal(size=(4, 64)), f"{stem}B.weight": random.normal(size=(64, 4))}
    save_file({name: values.astype("f4") for name, values in tensors.items()}, tmp_path / "a.safetensors")
    (tmp_path / "config.json").write_text('{"peft_type": "LORA", "r": 4, "lora_alpha": 64}')
    adapters = {
        "adapter_model.safetensors": maker.upload(tmp_path / "a.safetensors"),
        "adapter_config.json": maker.upload(tmp_path / "config.json"),
    }
    events = maker.stream("/api/create", {"model": "tuned", "from": "base", "adapters": adapters})
    assert statuses(events)[0] == "converting adapter"
    assert events[-1] == {"status": "success"}
    ask = {"prompt": "the", "stream": False, "options": {"num_predict": 8, "temperature": 0}}
    tuned, plain = (
        maker.post("/api/generate", {"model": name, **ask})["response"] for name in ("tuned", "base")
    )
    assert tuned != plain
    body = {"model": "x", "files": {"p.gguf": maker.upload(FIXTURES / "mmproj.gguf")}, "adapters": adapters}
    status, data = maker.request("POST", "/api/create", {**body, "stream": False})
    assert (status, json.loads(data)["error"]) == (400, "no base model was found")


@pytest.mark.parametrize(
    "body",
    [
        {"from": "base", "system": "new one", "template": "{{ .Prompt"},
        {"from": "base", "system": "new two", "license": 5},
        {"from": "base", "system": "new three", "quantize": "nonsense"},
        {"from": "no/such", "system": "new four"},
        {
            "files": {"w.gguf": WIDE, "x.gguf": FIXTURES / "lora.gguf"},
            "quantize": "IQ1_S",
            "system": "new five",
        },
        {"files": {"model.safetensors": None}, "system": "new six"},
        {"from": "base", "adapters": {"a.safetensors": None}},
    ],
    ids=["template", "license", "quantize", "from", "imatrix", "no-config", "adapter"],
)
def test_a_failure_leaves_nothing(maker: Server, body: dict[str, Any]) -> None:
    """No manifest, and no blob that was not uploaded. Without a path, weights of the sentence model."""
    for member in ("files", "adapters"):
        if member in body:
            paths = {name: path or model_files()["model.safetensors"] for name, path in body[member].items()}
            body = {**body, member: {name: maker.upload(path) for name, path in paths.items()}}
    before = blobs(maker)
    status, data = maker.request("POST", "/api/create", {"model": "failed", **body})
    assert status >= 400 or b'"error"' in data.splitlines()[-1]
    assert blobs(maker) == before
    assert maker.request("POST", "/api/show", {"model": "failed"})[0] == 404


def test_over_an_existing_model(maker: Server) -> None:
    """The new layers take the place of the old, whose blobs go."""
    maker.post("/api/create", {"model": "over", "from": "base", "system": "first text", "stream": False})
    before = blobs(maker)
    maker.post("/api/create", {"model": "over", "from": "base", "system": "second text", "stream": False})
    after = blobs(maker)
    assert (len(before - after), len(after - before)) == (1, 1), "a text each; the config is the same"
    assert maker.post("/api/show", {"model": "over"})["system"] == "second text"


class TestOldRequests:
    """What scripts and tutorials written for older servers send."""

    def test_modelfile(self, maker: Server) -> None:
        """A whole Modelfile as a text, and `name` for `model`."""
        text = 'FROM base\nPARAMETER temperature 0.25\nSYSTEM """You are\nMario."""\nMESSAGE user hi\nLICENSE MIT'
        events = maker.stream("/api/create", {"name": "mario", "modelfile": text})
        assert events[-1] == {"status": "success"}
        shown = maker.post("/api/show", {"model": "mario"})
        assert (shown["system"], shown["license"]) == ("You are\nMario.", "MIT")
        assert shown["messages"] == [{"role": "user", "content": "hi"}]
        assert "temperature" in shown["parameters"]

    def test_blobs_in_a_modelfile(self, maker: Server) -> None:
        """`FROM @sha256:...` as old clients wrote it, and the path of a blob as show prints it."""
        digest = maker.upload(FIXTURES / "tiny.gguf")
        adapter = maker.upload(FIXTURES / "lora.gguf")
        maker.stream("/api/create", {"name": "old", "modelfile": f"FROM @{digest}\nADAPTER @{adapter}"})
        shown = maker.post("/api/show", {"model": "old"})["modelfile"]
        maker.stream("/api/create", {"name": "again", "modelfile": shown})
        again = maker.post("/api/show", {"model": "again"})["modelfile"]
        assert again.splitlines()[3:] == shown.splitlines()[3:]

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("FROM ./x.gguf", "FROM ./x.gguf: the server does not read files"),
            ("FROM /etc/passwd", "FROM /etc/passwd: the server does not read files"),
            ("FROM base\nADAPTER ~/x", "ADAPTER ~/x: the server does not read files"),
            ("FROM base\nSYSTM x", "modelfile in line 2: (line 2): command must be one of"),
            ('FROM base\nSYSTEM """x', 'modelfile in line 2: unexpected EOF: the """ opened in this line'),
            ("SYSTEM x", "modelfile: no FROM line"),
        ],
    )
    def test_refused(self, maker: Server, text: str, error: str) -> None:
        """Files of the server are no client's to name; mistakes are told with their line."""
        status, data = maker.request("POST", "/api/create", {"model": "x", "modelfile": text})
        assert status == 400
        assert json.loads(data)["error"].startswith(error)

    def test_members_win(self, maker: Server) -> None:
        """A member of the request counts before the Modelfile's."""
        body = {
            "model": "wins",
            "modelfile": "FROM base\nSYSTEM a\nPARAMETER seed 1\nPARAMETER top_k 2",
            "system": "b",
        }
        maker.stream("/api/create", {**body, "parameters": {"seed": 7}})
        shown = maker.post("/api/show", {"model": "wins"})
        assert shown["system"] == "b"
        assert shown["parameters"].split() == ["seed", "7", "top_k", "2"]
