"""Foreign bytes: headers, manifests, docker's configuration. Whatever comes, an answer or our own error comes out."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import CorralError, InvalidRequestError, RegistryProtocolError
from corral.rate import parse_rate
from corral.registry.challenge import Challenge, parse_challenges
from corral.registry.credentials import Credential, DockerCredentials
from corral.registry.manifest import check_manifest
from corral.registry.part_state import Part, PartFiles, plan_parts
from corral.registry.ranges import (
    ContentRange,
    parse_content_range,
    parse_length,
    parse_retry_after_s,
    parse_upload_range,
)
from tests.doubles.real_registry import MANIFEST_TYPE, digest_of, layer, manifest_of
from tests.registry.conftest import CONFIG

# --- challenges ---


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://r/t",service="s",scope="a b"',
            [Challenge("bearer", {"realm": "https://r/t", "service": "s", "scope": "a b"})],
        ),
        (
            "Bearer realm=https://r/t,service=s",
            [Challenge("bearer", {"realm": "https://r/t", "service": "s"})],
        ),
        ('Basic realm="x, y"', [Challenge("basic", {"realm": "x, y"})]),
        (
            'Basic realm="a", Bearer realm="b"',
            [Challenge("basic", {"realm": "a"}), Challenge("bearer", {"realm": "b"})],
        ),
        ('BEARER Realm = "a\\"b"', [Challenge("bearer", {"realm": 'a"b'})]),
        ("Negotiate", [Challenge("negotiate")]),
        ("", []),
        ('="', []),
    ],
)
def test_challenges(header: str, expected: list[Challenge]) -> None:
    """Quoted, bare, several in one header, in any case."""
    assert parse_challenges([header]) == expected


def test_scopes() -> None:
    """Several scopes in one parameter."""
    assert parse_challenges(['Bearer realm="r",scope="a:b:pull c:d:pull"'])[0].scopes == (
        "a:b:pull",
        "c:d:pull",
    )


@given(st.lists(st.text(), max_size=3))
def test_any_challenge(headers: list[str]) -> None:
    """No text breaks the reader."""
    for challenge in parse_challenges(headers):
        assert challenge.scheme


@given(st.text(alphabet='abB =",\\ \trealmservicescope', max_size=200))
def test_likely_challenge(header: str) -> None:
    """Texts made of the parts of challenges neither break the reader nor keep it for long."""
    parse_challenges([header])


def test_long_challenge() -> None:
    """Hostile lengths cost little."""
    start_s = time.process_time()
    parse_challenges(
        ["Bearer " + 'a="' * 1_000_000, 'Bearer a="' + "\\" * 1_000_001, "Bearer " + "a=b," * 500_000]
    )
    assert time.process_time() - start_s < 10


# --- numbers in headers ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes 0-9/10", ContentRange(0, 10, 10)),
        ("bytes 5-9/*", ContentRange(5, 10, None)),
        ("Bytes  5-9/10 ", ContentRange(5, 10, 10)),
        ("bytes 9-5/10", None),
        ("bytes 0-10/10", None),
        ("bytes */10", None),
        ("bytes 0-9", None),
        ("0-9/10", None),
        ("bytes 0-99999999999999999999/999999999999999999999", None),
        ("bytes ٠-٩/10", None),
        ("", None),
    ],
)
def test_content_range(text: str, expected: ContentRange | None) -> None:
    """Only sound ranges."""
    assert parse_content_range(text) == expected


@given(st.text())
def test_any_number_header(text: str) -> None:
    """No text breaks a reader, and what is read is sound."""
    found = parse_content_range(text)
    assert found is None or 0 <= found.start < found.stop
    assert (parse_length(text) or 0) >= 0
    assert (parse_upload_range(text) or 0) >= 0
    assert (parse_retry_after_s(text) or 0) >= 0


@given(st.integers(0, 10**17), st.integers(1, 10**17))
def test_content_range_round_trip(start: int, size: int) -> None:
    """What a server writes is read back."""
    stop = start + size
    assert parse_content_range(f"bytes {start}-{stop - 1}/{stop}") == ContentRange(start, stop, stop)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5.0),
        ("0", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 60.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        (None, None),
    ],
)
def test_retry_after(text: str | None, expected: float | None) -> None:
    """Seconds or a date; the past is now."""
    assert parse_retry_after_s(text, now_s=40) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0-0", 0), ("0-9", 10), ("bytes=0-9", 10), ("5-9", None), ("", None), ("0-x", None)],
)
def test_upload_range(text: str, expected: int | None) -> None:
    """How much of an upload a registry has."""
    assert parse_upload_range(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("10MB", 10_000_000),
        ("1.5MiB/s", 1_572_864),
        ("500k", 500_000),
        ("64 KiB", 65_536),
        ("1gbps", 1_000_000_000),
        ("0", 0),
        (2048, 2048),
        (1.5e6, 1_500_000),
    ],
)
def test_rates(value: Any, expected: int) -> None:
    """Bytes a second in the usual spellings."""
    assert parse_rate(value) == expected


@pytest.mark.parametrize(
    "value", ["", "fast", "-1", "10 apples", "MB", True, None, [], -1, float("nan"), float("inf")]
)
def test_bad_rates(value: Any) -> None:
    """Anything else is the caller's mistake."""
    with pytest.raises(InvalidRequestError, match="invalid rate limit"):
        parse_rate(value)


# --- manifests ---

GOOD = json.loads(manifest_of({"model": b"weights", "license": b"MIT"}, CONFIG))


def test_good_manifest() -> None:
    """One as registries have them, also with OCI's media types."""
    assert len(check_manifest(json.dumps(GOOD).encode(), "a/b").layers) == 2
    oci = {**GOOD, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    oci["config"] = {**GOOD["config"], "mediaType": "application/vnd.oci.image.config.v1+json"}
    check_manifest(json.dumps(oci).encode(), "a/b")


def changed(change: Callable[[dict[str, Any]], None]) -> bytes:
    value = json.loads(json.dumps(GOOD))
    change(value)
    return json.dumps(value).encode()


BAD: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "empty digest": (lambda m: m["layers"][0].update(digest=""), "a/b: digest is empty"),
    "no config": (lambda m: m.pop("config"), "not a JSON object"),
    "path as digest": (lambda m: m["layers"][0].update(digest="../../etc/passwd"), "no valid digest"),
    "another hash": (lambda m: m["layers"][0].update(digest="sha512:" + "0" * 128), "no valid digest"),
    "negative size": (lambda m: m["layers"][0].update(size=-1), "wrong types"),
    "size as text": (lambda m: m["layers"][0].update(size="7"), "wrong types"),
    "huge": (lambda m: m["layers"][0].update(size=1 << 60), "cannot be right"),
    "zero": (lambda m: m["layers"][0].update(size=0), "cannot be right"),
    "empty blob with a size": (lambda m: m["layers"][0].update(digest=digest_of(b"")), "cannot be right"),
    "two sizes": (lambda m: m["layers"].append({**m["layers"][0], "size": 8}), "two sizes"),
    "container image": (
        lambda m: m["layers"][0].update(mediaType="application/vnd.docker.image.rootfs.diff.tar.gzip"),
        "not a model",
    ),
    "index": (lambda m: m.update(mediaType="application/vnd.oci.image.index.v1+json"), "not a model"),
    "old version": (lambda m: m.update(schemaVersion=1), "not a model"),
    "tensors": (
        lambda m: m["layers"][0].update(mediaType="application/vnd.ollama.image.tensor"),
        "requires MLX",
    ),
    "layers of layers": (lambda m: m.update(layers=[[]]), "not a JSON object"),
    "layers as a number": (lambda m: m.update(layers=7), "list of layers"),
    "too many": (lambda m: m.update(layers=[layer("model", b"x")] * 20_000), "more than"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_manifests(case: str) -> None:
    """Nothing of a manifest is used before all of it was checked."""
    change, text = BAD[case]
    with pytest.raises(CorralError, match=text):
        check_manifest(changed(change), "a/b")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "schemaVersion": st.just(2) | JSON,
            "mediaType": st.just(MANIFEST_TYPE) | JSON,
            "config": st.just(GOOD["config"]) | JSON,
            "layers": st.lists(st.just(GOOD["layers"][0]) | JSON, max_size=4) | JSON,
        },
    )
)
def test_any_manifest(value: Any) -> None:
    """A manifest or our own error, nothing else."""
    try:
        manifest = check_manifest(json.dumps(value).encode(), "a/b")
    except CorralError:
        return
    assert all(one.size_bytes > 0 for one in manifest.layers)


@given(st.binary(max_size=300))
def test_any_manifest_bytes(data: bytes) -> None:
    """The same for what is not JSON."""
    with pytest.raises(RegistryProtocolError):
        check_manifest(data, "a/b")


def test_deep_manifest() -> None:
    """Nesting that would end a naive reader."""
    with pytest.raises(RegistryProtocolError):
        check_manifest(b"[" * 1_000_000, "a/b")


# --- docker's configuration ---


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"auths": {"r.example": {"auth": basic("ann", "a:b")}}}, Credential("ann", "a:b")),
        ({"auths": {"https://r.example/v1/": {"auth": basic("ann", "x")}}}, Credential("ann", "x")),
        ({"auths": {"r.example": {"username": "ann", "password": "x"}}}, Credential("ann", "x")),
        ({"auths": {"r.example": {"identitytoken": "t"}}}, Credential(identity_token="t")),
        ({"auths": {"other.example": {"auth": basic("ann", "x")}}}, None),
        ({"auths": {"r.example.evil": {"auth": basic("ann", "x")}}}, None),
        ({"auths": {"r.example": {"auth": "no base64!"}}}, None),
        ({"auths": {"r.example": {"auth": base64.b64encode(b"nocolon").decode()}}}, None),
        ({"auths": {"r.example": {}}}, None),
        ({"auths": [1, 2]}, None),
        (
            {"credsStore": "../evil", "auths": {"r.example": {"auth": basic("ann", "x")}}},
            Credential("ann", "x"),
        ),
        ([], None),
    ],
)
def test_docker_config(tmp_path: Path, config: Any, expected: Credential | None) -> None:
    """The forms that docker writes, and broken ones."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    assert DockerCredentials(path).find("r.example") == expected


@pytest.mark.process
def test_credential_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper is a program that gets the host and prints JSON."""
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        '#!/bin/sh\nread host\n[ "$host" = r.example ] || exit 1\necho \'{"Username":"ann","Secret":"s"}\'\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"credHelpers": {"r.example": "test"}, "credsStore": "absent"}))
    assert DockerCredentials(path).find("r.example") == Credential("ann", "s")
    path.write_text(json.dumps({"credsStore": "test"}))
    assert DockerCredentials(path).find("other.example") is None


def test_credentials_do_not_print_secrets() -> None:
    """Not even by accident in a log."""
    assert "hush" not in repr(Credential("ann", "hush", "hush"))


@given(JSON | st.fixed_dictionaries({"auths": st.dictionaries(st.just("r.example"), JSON)}))
def test_any_docker_config(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    """Whatever the file holds, a pull does not end with a traceback."""
    path = tmp_path_factory.getbasetemp() / "docker.json"
    path.write_text(json.dumps(value))
    DockerCredentials(path).find("r.example")


# --- part files ---


@given(st.integers(1, 10**12))
def test_plans_cover_everything(size: int) -> None:
    """Parts follow each other without gap from the first byte to the last."""
    parts = plan_parts(size)
    assert parts[0].offset == 0
    assert parts[-1].stop == size
    assert all(before.stop == after.offset for before, after in pairwise(parts))
    assert len(parts) <= 4096


@given(st.binary(max_size=400) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_part_file(data: bytes) -> None:
    """A damaged file is no part."""
    part = Part.parse(data)
    assert part is None or 0 <= part.completed <= part.size


@given(
    st.integers(1, 2000),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 2000)), max_size=6),
)
def test_any_set_of_part_files(
    tmp_path_factory: pytest.TempPathFactory, size: int, found: list[tuple[int, int, int]]
) -> None:
    """However the files contradict each other, the parts that come of them cover the blob once."""
    folder = tmp_path_factory.mktemp("parts")
    files = PartFiles(folder / "sha256-x")
    files.path.write_bytes(b"")
    for number, (offset, length, completed) in enumerate(found):
        value = {"N": number, "Offset": offset, "Size": length, "Completed": completed}
        files.path.with_name(f"{files.path.name}-{number}").write_text(json.dumps(value))
    parts = files.load(size)
    assert parts[0].offset == 0
    assert parts[-1].stop == size
    assert all(before.stop == after.offset for before, after in pairwise(parts))
    assert [part.number for part in parts] == list(range(len(parts)))
