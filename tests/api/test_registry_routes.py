"""The server as a registry, asked as the distribution protocol asks."""

from __future__ import annotations

import hashlib
import http.client
import json
import resource
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.api.registry import protocol
from tests.conftest import Server

StartServer = Callable[..., Server]
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.body = response.read()
        self.headers = {name.lower(): value for name, value in response.getheaders()}

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["errors"][0]["code"])


def ask(server: Server, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path.removeprefix(server.base), body, sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


# A layer that may be large and is not looked into.
LAYER_TYPE = "application/vnd.ollama.image.projector"


def manifest_of(config: bytes, *layers: bytes) -> bytes:
    def layer(kind: str, data: bytes) -> dict[str, Any]:
        return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}

    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": layer("application/vnd.docker.container.image.v1+json", config),
            "layers": [layer(LAYER_TYPE, data) for data in layers],
        }
    ).encode()


@pytest.fixture(scope="module")
def hub(process: None) -> Iterator[Server]:
    server = Server(CORRAL_REGISTRY="push")
    server.create("m", "say")
    yield server
    server.close()


def test_it_is_off_unless_asked_for(server: Server) -> None:
    """Nobody shares models by accident."""
    assert ask(server, "GET", "/v2/").status == 404


def test_a_blob_has_a_length_alone(hub: Server) -> None:
    """Not chunks besides: some clients take one of the two, others refuse."""
    manifest = json.loads(ask(hub, "GET", "/v2/library/m/manifests/latest").body)
    path = f"/v2/library/m/blobs/{manifest['layers'][0]['digest']}"
    size = manifest["layers"][0]["size"]
    for method, span, count in (("GET", "", size), ("HEAD", "", size), ("GET", "bytes=3-9", 7)):
        answer = ask(hub, method, path, Range=span)
        assert answer.headers["content-length"] == str(count)
        assert "transfer-encoding" not in answer.headers
        assert len(answer.body) == (0 if method == "HEAD" else count)


def test_a_model_can_be_read(hub: Server) -> None:
    """Version check, catalog, tags, manifest by tag and digest, blobs."""
    assert ask(hub, "GET", "/v2/").status == 200
    assert "library/m" in json.loads(ask(hub, "GET", "/v2/_catalog").body)["repositories"]
    assert json.loads(ask(hub, "GET", "/v2/library/m/tags/list").body) == {
        "name": "library/m",
        "tags": ["latest"],
    }
    answer = ask(hub, "GET", "/v2/library/m/manifests/latest")
    stored = (hub.folder / "manifests/registry.ollama.ai/library/m/latest").read_bytes()
    assert (answer.status, answer.body) == (200, stored)
    assert answer.headers["content-type"] == MANIFEST_TYPE
    digest = answer.headers["docker-content-digest"]
    assert digest == digest_of(stored)
    assert ask(hub, "GET", f"/v2/library/m/manifests/{digest}").body == stored
    head = ask(hub, "HEAD", "/v2/library/m/manifests/latest")
    assert (head.headers["content-length"], head.body) == (str(len(stored)), b"")
    for layer in json.loads(stored)["layers"]:
        path = f"/v2/library/m/blobs/{layer['digest']}"
        blob = ask(hub, "GET", path)
        assert digest_of(blob.body) == layer["digest"]
        # Ollama's client takes the place of the parts from here.
        assert blob.headers["location"] == hub.base + path
        assert ask(hub, "HEAD", path).headers["content-length"] == str(layer["size"])


def test_ranges(hub: Server) -> None:
    """Parts of a blob, its end, and what lies outside."""
    stored = json.loads(ask(hub, "GET", "/v2/library/m/manifests/latest").body)
    layer = stored["layers"][0]
    path, size = f"/v2/library/m/blobs/{layer['digest']}", layer["size"]
    whole = ask(hub, "GET", path).body
    part = ask(hub, "GET", path, Range="bytes=10-19")
    assert (part.status, part.body) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{size}"
    assert ask(hub, "GET", path, Range="bytes=-5").body == whole[-5:]
    assert ask(hub, "GET", path, Range=f"bytes={size - 3}-").body == whole[-3:]
    assert ask(hub, "GET", path, Range="bytes=0-0").body == whole[:1]
    assert ask(hub, "GET", path, Range=f"bytes={size}-").status == 416
    assert ask(hub, "GET", path, Range="apples=1-2").status == 200


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/library/nope/manifests/latest", 404, "MANIFEST_UNKNOWN"),
        ("/v2/library/nope/tags/list", 404, "NAME_UNKNOWN"),
        (f"/v2/library/m/manifests/sha256:{'0' * 64}", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/library/m/blobs/sha256:{'0' * 64}", 404, "BLOB_UNKNOWN"),
        ("/v2/library/m/blobs/sha256:abc", 400, "DIGEST_INVALID"),
        ("/v2/library/m/blobs/..", 400, "DIGEST_INVALID"),
        ("/v2/a/b/c/d/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/library/m/blobs/uploads/nope", 404, "BLOB_UPLOAD_UNKNOWN"),
    ],
)
def test_what_is_not_there(hub: Server, path: str, status: int, code: str) -> None:
    """Errors in the protocol's form."""
    answer = ask(hub, "GET", path)
    assert (answer.status, answer.code) == (status, code)


def test_a_push_in_pieces(hub: Server) -> None:
    """Started, resumed at the size that was reached, finished by digest; then the manifest, then it is listed."""
    licence, config = b"L" * 5000, b'{"model_format":"gguf"}'
    location = ask(hub, "POST", "/v2/team/pushed/blobs/uploads/").headers["location"]
    assert location.startswith(hub.base)
    first = ask(hub, "PATCH", location, licence[:3000], Content_Range="0-2999")
    assert (first.status, first.headers["range"]) == (202, "0-2999")
    assert ask(hub, "GET", location).headers["range"] == "0-2999"
    # A piece that was already here, then one that leaves a gap.
    assert ask(hub, "PATCH", location, licence[2000:4000], Content_Range="2000-3999").status == 202
    assert ask(hub, "PATCH", location, b"x", Content_Range="4500-4500").status == 416
    assert ask(hub, "PATCH", location, licence[4000:], Content_Range="4000-4999").status == 202
    assert ask(hub, "PUT", f"{location}?digest={digest_of(licence)}").status == 201
    manifest = manifest_of(config, licence)
    refused = ask(hub, "PUT", "/v2/team/pushed/manifests/v1", manifest)
    assert (refused.status, refused.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    whole = ask(hub, "POST", f"/v2/team/pushed/blobs/uploads/?digest={digest_of(config)}", config)
    assert whole.status == 201
    assert ask(hub, "PUT", "/v2/team/pushed/manifests/v1", manifest).status == 201
    assert ask(hub, "GET", "/v2/team/pushed/manifests/v1").body == manifest
    assert "team/pushed:v1" in [model["name"] for model in hub.get("/api/tags")["models"]]
    mounted = ask(hub, "POST", f"/v2/other/m/blobs/uploads/?mount={digest_of(licence)}&from=team/pushed")
    assert mounted.status == 201


def test_a_push_of_something_else(hub: Server) -> None:
    """What does not hash to its digest is gone; an upload can be cancelled; nothing of either stays."""
    location = ask(hub, "POST", "/v2/team/bad/blobs/uploads/").headers["location"]
    answer = ask(hub, "PUT", f"{location}?digest=sha256:{'1' * 64}", b"other")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert ask(hub, "GET", location).status == 404
    location = ask(hub, "POST", "/v2/team/bad/blobs/uploads/").headers["location"]
    assert ask(hub, "DELETE", location).status == 204
    assert ask(hub, "PATCH", location, b"x").status == 404
    assert list((hub.folder / "corral-uploads").iterdir()) == []


def test_a_gap_in_an_upload(hub: Server) -> None:
    """The last piece, too, has to begin where the upload ends; a wrong one costs nothing that is there."""
    location = ask(hub, "POST", "/v2/team/gap/blobs/uploads/").headers["location"]
    assert ask(hub, "PATCH", location, b"0123").status == 202
    answer = ask(hub, "PUT", f"{location}?digest={digest_of(b'012345')}", b"5", Content_Range="5-5")
    assert (answer.status, answer.code, answer.headers["range"]) == (416, "BLOB_UPLOAD_INVALID", "0-3")
    answer = ask(hub, "PUT", f"{location}?digest={digest_of(b'012345')}", b"45", Content_Range="4-5")
    assert answer.status == 201


def test_a_full_disk(start_server: StartServer) -> None:
    """The client is told, and what came is not in everybody's way; too much is refused by its length alone."""
    server = start_server(CORRAL_REGISTRY="push")
    server.create("m", "say")
    before = sorted((server.folder / "blobs").iterdir())
    location = ask(server, "POST", "/v2/a/b/blobs/uploads/").headers["location"]
    answer = ask(server, "PATCH", location, b"", Content_Length=str(1 << 60))
    assert answer.status == 500
    assert "not enough space" in answer.body.decode()
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    answer = ask(server, "PATCH", location, bytes(4 << 20))
    assert answer.status == 500
    assert "file too large" in answer.body.decode()
    assert list((server.folder / "corral-uploads").iterdir()) == []
    data = bytes(2 << 20)
    answer = ask(server, "POST", f"/api/blobs/{digest_of(data)}", data)
    assert json.loads(answer.body) == {"error": "file too large"}
    _, lines = server.request("POST", "/api/create", {"model": "n", "from": "m", "system": "x" * (2 << 20)})
    assert json.loads(lines.splitlines()[-1]) == {"error": "file too large"}
    assert sorted((server.folder / "blobs").iterdir()) == before


def test_an_upload_outlives_the_server(start_server: StartServer) -> None:
    """Its file is its state: after kill -9 another server goes on where it stopped."""
    data = b"0123456789" * 1000
    first = start_server(CORRAL_REGISTRY="push")
    location = ask(first, "POST", "/v2/a/b/blobs/uploads/").headers["location"]
    assert ask(first, "PATCH", location, data[:4000]).status == 202
    first.process.kill()
    first.process.wait()
    second = start_server(CORRAL_REGISTRY="push", OLLAMA_MODELS=str(first.folder))
    path = location.removeprefix(first.base)
    assert ask(second, "GET", path).headers["range"] == "0-3999"
    assert ask(second, "PATCH", path, data[4000:], Content_Range="4000-9999").status == 202
    assert ask(second, "PUT", f"{path}?digest={digest_of(data)}").status == 201
    assert ask(second, "GET", f"/v2/a/b/blobs/{digest_of(data)}").body == data


def test_reading_does_not_mean_writing(start_server: StartServer) -> None:
    """`pull` refuses every change."""
    server = start_server(CORRAL_REGISTRY="pull")
    assert ask(server, "GET", "/v2/").status == 200
    for method, path in (("POST", "blobs/uploads/"), ("PUT", "manifests/latest")):
        answer = ask(server, method, f"/v2/a/b/{path}", b"{}")
        assert (answer.status, answer.code) == (403, "DENIED")
    assert ask(server, "DELETE", "/v2/a/b/manifests/latest").status == 405


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"null", b'{"config":{}}', b'{"mediaType":"a\\nb"}'])
def test_manifests_are_checked(hub: Server, data: bytes) -> None:
    """A client's manifest is read in full before it is kept."""
    answer = ask(hub, "PUT", "/v2/team/broken/manifests/latest", data)
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
    assert not (hub.folder / "manifests/registry.ollama.ai/team/broken").exists()


@given(
    st.text(alphabet="/v2abc:.-_%ulistmanifeorgdp ", max_size=60), st.text(max_size=30), st.integers(0, 100)
)
def test_any_path_and_range_has_a_meaning(path: str, header: str, size: int) -> None:
    """Foreign text is parsed or refused; a range that is accepted lies inside."""
    resource = protocol.parse_path("/v2/" + path)
    assert resource is None or resource.kind in {"root", "catalog", "manifest", "upload", "blob", "tags"}
    protocol.parse_content_range(header)
    try:
        span = protocol.parse_range("bytes=" + header, size)
    except ValueError:
        return
    assert span is None or 0 <= span[0] <= span[1] < size


@given(st.integers(0, 120), st.integers(0, 120), st.integers(1, 100))
def test_ranges_are_cut_to_the_content(first: int, last: int, size: int) -> None:
    """Against slicing."""
    content = bytes(range(size))
    try:
        span = protocol.parse_range(f"bytes={first}-{last}", size)
    except ValueError:
        assert content[first : last + 1] == b""
        return
    assert span is not None
    assert content[span[0] : span[1] + 1] == content[first : last + 1]
