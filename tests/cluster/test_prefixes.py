"""The index of warm prompts, against a plain model of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from corral.cluster.keys import prompt_keys, prompt_of, seed_of
from corral.cluster.prefixes import KEEP_ALIVE_S, PrefixIndex
from corral.cluster.view import PromptKeys

DIGEST, OTHER = "sha256:1", "sha256:2"
NODES = ("a", "b", "c")


def keys_of(text: str) -> PromptKeys:
    """One block for each letter."""
    return prompt_keys(seed_of(DIGEST), text.encode(), block=1)


texts = st.text("xyz", max_size=7)


def test_what_was_answered_is_known_by_its_beginning() -> None:
    index = PrefixIndex()
    index.answered("a", DIGEST, keys_of("xxyy"), 0)
    assert index.share("a", DIGEST, keys_of("xxyyzz"), 1) == pytest.approx(4 / 6)
    assert index.share("a", DIGEST, keys_of("xx"), 1) == 1
    assert index.share("a", DIGEST, keys_of("y"), 1) == 0
    assert index.share("a", OTHER, keys_of("xx"), 1) == 0
    assert index.share("b", DIGEST, keys_of("xx"), 1) == 0
    assert index.share("a", DIGEST, (), 1) == 0


@given(texts, texts, texts)
def test_a_share_grows_with_what_was_answered(prompt: str, one: str, other: str) -> None:
    """And never falls by an answer, as long as there is room."""
    index = PrefixIndex()
    index.answered("a", DIGEST, keys_of(one), 0)
    before = index.share("a", DIGEST, keys_of(prompt), 1)
    index.answered("a", DIGEST, keys_of(other), 1)
    after = index.share("a", DIGEST, keys_of(prompt), 1)
    assert after >= before
    index.answered("a", DIGEST, keys_of(prompt), 1)
    assert index.share("a", DIGEST, keys_of(prompt), 1) == (1 if prompt else 0)


@given(texts, texts)
def test_the_longer_the_common_beginning_the_more_is_warm(known: str, prompt: str) -> None:
    index = PrefixIndex()
    index.answered("a", DIGEST, keys_of(known), 0)
    common = next(i for i in range(8, -1, -1) if i <= len(prompt) and known.startswith(prompt[:i]))
    assert index.share("a", DIGEST, keys_of(prompt), 0) == (common / len(prompt) if prompt else 0)


def test_the_node_that_was_asked_has_its_answer_too() -> None:
    """A short question, a long answer: the next question goes where the answer was made."""
    index = PrefixIndex()
    seed = seed_of(DIGEST)
    asked = prompt_of(seed, [b"Explain everything."])
    index.answered("a", DIGEST, asked.keys, 0)
    index.answered("b", DIGEST, prompt_of(seed, [b"Explain nothing."]).keys, 0)
    following = prompt_of(seed, [b"Explain everything.", b"x" * 5000, b"And then?"])
    assert len(following.keys) == 12
    expected = {"a": pytest.approx(11 / 12)}
    assert index.shares(DIGEST, following.keys, 0, answers=following.answers, least=0.3) == expected
    assert index.share("a", DIGEST, following.keys, 0, answers=following.answers) == expected["a"]
    assert index.share("a", DIGEST, following.keys, 0) == pytest.approx(1 / 12)
    assert index.share("b", DIGEST, following.keys, 0, answers=following.answers) == 0


def test_trust_is_halved_when_the_model_may_be_unloaded() -> None:
    index = PrefixIndex()
    index.answered("a", DIGEST, keys_of("xx"), 0)
    index.answered("b", DIGEST, keys_of("xx"), 0, keep_alive_s=10)
    assert index.shares(DIGEST, keys_of("xx"), 10) == {"a": 1, "b": 1}
    assert index.shares(DIGEST, keys_of("xx"), 11) == {"a": 1, "b": 0.5}
    assert index.share("a", DIGEST, keys_of("xx"), KEEP_ALIVE_S + 1) == 0.5
    index.answered("a", DIGEST, keys_of("y"), KEEP_ALIVE_S + 1)
    assert index.share("a", DIGEST, keys_of("xx"), KEEP_ALIVE_S + 2) == 1


def test_the_least_recently_used_goes_first_and_ends_go_before_beginnings() -> None:
    index = PrefixIndex(max_keys=4)
    index.answered("a", DIGEST, keys_of("xxx"), 0)
    index.answered("a", DIGEST, keys_of("xyy"), 1)
    assert index.share("a", DIGEST, keys_of("xyy"), 2) == 1
    assert index.share("a", DIGEST, keys_of("xxx"), 2) == pytest.approx(2 / 3)
    index.answered("a", DIGEST, keys_of("zzzzzz"), 3)
    assert index.share("a", DIGEST, keys_of("zzzzzz"), 4) == pytest.approx(4 / 6)
    assert index.share("a", DIGEST, keys_of("xyy"), 4) == 0
    assert len(index) == 4


class Index(RuleBasedStateMachine):
    """With room for everything, a node knows every beginning of what it answered since it forgot."""

    def __init__(self) -> None:
        super().__init__()
        self.index = PrefixIndex()
        self.known: dict[tuple[str, str], set[str]] = {}

    @rule(node=st.sampled_from(NODES), digest=st.sampled_from((DIGEST, OTHER)), text=texts)
    def answered(self, node: str, digest: str, text: str) -> None:
        self.index.answered(node, digest, keys_of(text), 0)
        self.known.setdefault((node, digest), set()).update(text[:i] for i in range(1, len(text) + 1))

    @rule(node=st.sampled_from(NODES), digest=st.sampled_from((DIGEST, OTHER)))
    def unloaded(self, node: str, digest: str) -> None:
        self.index.forget_model(node, digest)
        self.known.pop((node, digest), None)

    @rule(node=st.sampled_from(NODES))
    def restarted(self, node: str) -> None:
        self.index.forget_node(node)
        for digest in (DIGEST, OTHER):
            self.known.pop((node, digest), None)

    @rule(digest=st.sampled_from((DIGEST, OTHER)), text=texts, least=st.sampled_from((0.0, 0.3, 0.5, 1.0)))
    def asked(self, digest: str, text: str, least: float) -> None:
        shares = {}
        for node in NODES:
            known = self.known.get((node, digest), set())
            count = max((i for i in range(len(text) + 1) if i == 0 or text[:i] in known), default=0)
            share = count / len(text) if text else 0.0
            assert self.index.share(node, digest, keys_of(text), 0) == share
            if share and share >= least:
                shares[node] = share
        assert self.index.shares(digest, keys_of(text), 0, least=least) == shares

    @invariant()
    def nothing_else_is_kept(self) -> None:
        assert len(self.index) == sum(map(len, self.known.values()))


TestIndex = Index.TestCase
TestIndex.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
