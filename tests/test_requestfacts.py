"""What a request's line in the log says beside its status."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

from corral import requestfacts
from corral.requestfacts import RequestFacts, named


def test_a_request_without_a_model_says_nothing() -> None:
    assert RequestFacts("1").words() == ""


def test_only_what_applies_is_said() -> None:
    facts = RequestFacts("1", "m", queue_ns=1_500_000)
    assert facts.words() == " model=m queue_ms=1.5"
    facts.note_tokens(20, 0, 0)
    assert facts.words() == " model=m prompt_tokens=20 queue_ms=1.5"


def test_engine_calls_of_one_request_add_up() -> None:
    facts = RequestFacts("1", "m", load_ns=2_000_000_000)
    facts.note_tokens(20, 5, 10, 500_000_000)
    facts.note_tokens(30, 25, 40, 500_000_000)
    assert facts.words() == " model=m prompt_tokens=50 cached=30 tokens=50 load_ms=2000.0 tok_s=50.0"


def test_an_error_that_was_answered_is_said_last() -> None:
    """Its text is bounded."""

    def fail() -> RequestFacts:
        facts = requestfacts.begin("1")
        facts.model = "m"
        requestfacts.note_error(ValueError("x" * 10_000))
        return facts

    words = copy_context().run(fail).words()
    assert words.startswith(" model=m error=ValueError('xxx")
    assert len(words) < 1100


def test_a_name_cannot_forge_words() -> None:
    """What a client calls a model is quoted, and cut."""
    assert named("hf.co/a/b:Q4_K_M") == "hf.co/a/b:Q4_K_M"
    assert named('m status=200 "') == '"m status=200 \\""'
    assert named("a\nb") == '"a\\nb"'
    assert len(named("ä" * 10_000)) < 1000


def test_a_task_works_on_the_facts_of_its_request() -> None:
    """Tasks that a request starts share its facts; another request has its own."""

    async def request(request_id: str) -> str:
        requestfacts.begin(request_id)
        return await asyncio.create_task(inner())

    async def inner() -> str:
        await asyncio.sleep(0)
        return requestfacts.current().request_id

    async def both() -> list[str]:
        return list(await asyncio.gather(request("1"), request("2")))

    assert asyncio.run(both()) == ["1", "2"]
    assert requestfacts.current().request_id == ""
