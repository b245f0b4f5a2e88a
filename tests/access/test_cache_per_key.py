"""With CORRAL_CACHE_PER_KEY no key learns by time what another one has asked."""

from __future__ import annotations

import json

import pytest

from corral import caller
from corral.caller import Caller
from corral.runner.cache_owner import CacheOwner
from tests.access.conftest import KeyedServer, bearer, scoped

LONG = "The quick brown fox jumps over the lazy dog. " * 20


def cached(server: KeyedServer, key: dict[str, str]) -> int:
    """How many tokens of the same prompt were not computed again."""
    body = {"model": "tiny", "prompt": LONG, "max_tokens": 1, "seed": 1}
    headers = {**key, "X-Stainless-Lang": "python"}
    status, answer = server.request("POST", "/v1/completions", body, headers)
    assert status == 200, answer
    usage = json.loads(answer)["usage"]
    assert usage["prompt_tokens"] > 50
    return int(usage["prompt_tokens_details"]["cached_tokens"])


@pytest.mark.parametrize("is_on", [False, True])
def test_prompts_of_two_keys(process: None, is_on: bool) -> None:
    server = KeyedServer(CORRAL_CACHE_PER_KEY="1" if is_on else "0", OLLAMA_NUM_PARALLEL="2")
    try:
        server.create("tiny", "tiny")
        one, two = (bearer(server.make(name, **scoped(("infer",)))) for name in ("one", "two"))
        assert cached(server, one) == 0
        assert cached(server, one) > 50  # its own
        assert (cached(server, two) > 0) is not is_on
        assert (cached(server, one) > 0) is not is_on  # it could find what the other one left
    finally:
        server.close()


def test_who_owns_what_a_child_has() -> None:
    owner, free = CacheOwner(is_on=True), CacheOwner(is_on=False)
    found = []
    for key_id in ("a", "a", "b", "a", ""):
        caller.begin(Caller(key_id))
        found.append((owner.may_reuse(), free.may_reuse()))
    caller.begin(caller.ANYBODY)
    assert found == [(True, True), (True, True), (False, True), (False, True), (False, True)]
