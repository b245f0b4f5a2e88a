"""The parts together: requests over time, failures and what is forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from corral.cluster.directory import Directory, Heartbeat
from corral.cluster.keys import prompt_of, seed_of
from corral.cluster.router import Routed, Router
from corral.cluster.view import LoadedModel, Wanted, Why

MODEL, DIGEST = "m:latest", "sha256:1"
LOADED = {DIGEST: LoadedModel(DIGEST, 4)}
PROMPT = prompt_of(seed_of(DIGEST), [b"x" * 2000])
WANTED = Wanted(MODEL, keys=PROMPT.keys)


class Gateway:
    """A router of three nodes with the model in memory, and a clock."""

    def __init__(self) -> None:
        self.router, self.now, self.number = Router(Directory()), 0.0, 0
        for node in "abc":
            self.speak(node)

    def speak(self, node: str, epoch: str = "1", **fields: Any) -> None:
        self.number += 1
        beat = Heartbeat(node, epoch, self.number, f"http://{node}", models={MODEL: DIGEST}, loaded=LOADED)
        self.router.heard(replace(beat, **fields), self.now)

    def answer(self, wanted: Wanted = WANTED) -> Routed:
        routed = self.router.route(wanted, self.now)
        self.router.answered(routed, self.now)
        self.now += 0.1
        self.router.ended(routed, self.now)
        return routed


def test_a_conversation_stays_where_it_was() -> None:
    gateway = Gateway()
    first = gateway.answer()
    assert first.decision.why is Why.LEAST
    for _ in range(3):
        assert gateway.answer().decision == replace(first.decision, why=Why.PREFIX, share=1.0)


def test_an_answer_that_never_came_warms_nothing() -> None:
    gateway = Gateway()
    gateway.router.ended(gateway.router.route(WANTED, 0), 1, is_whole=False)
    assert gateway.answer().decision.why is Why.LEAST


def test_what_restarted_or_unloaded_is_cold() -> None:
    changes: list[dict[str, Any]] = [{"epoch": "2"}, {"loaded": {}}]
    for change in changes:
        gateway = Gateway()
        node = gateway.answer().decision.node
        gateway.speak(node, **change)
        gateway.speak(node, **({"epoch": "2"} if "epoch" in change else {}))
        assert gateway.answer().decision.why is Why.LEAST


def test_a_session_stays_and_leaves_with_its_node() -> None:
    gateway = Gateway()
    wanted = Wanted(MODEL, session="s")
    node = gateway.answer(wanted).decision.node
    assert gateway.answer(wanted).decision == replace(gateway.router.decide(wanted, gateway.now), node=node)
    assert gateway.router.decide(wanted, gateway.now).why is Why.SESSION
    assert gateway.router.decide(replace(wanted, session="t"), gateway.now).why is Why.LEAST
    gateway.router.remove(node)
    decision = gateway.router.decide(wanted, gateway.now)
    assert (decision.node != node, decision.why) == (True, Why.LEAST)


def test_requests_under_way_are_spread() -> None:
    gateway = Gateway()
    nodes = [gateway.router.route(Wanted(MODEL, seed=i), 0).decision.node for i in range(9)]
    assert sorted(nodes) == list("aaabbbccc")


def test_a_node_that_fails_gets_nothing_until_a_trial_succeeds() -> None:
    gateway = Gateway()
    others = frozenset("bc")
    to_a = Wanted(MODEL, tried=others)
    for _ in range(3):
        gateway.router.failed(gateway.router.route(to_a, gateway.now), None, gateway.now)
    assert gateway.router.route(to_a, gateway.now) == Routed(to_a, gateway.router.decide(to_a, gateway.now))
    gateway.now = 5
    for node in "abc":
        gateway.speak(node)
    trial = gateway.router.route(to_a, gateway.now)
    assert trial.is_trial and trial.decision.node == "a"
    assert gateway.router.decide(to_a, gateway.now).node == ""
    gateway.router.answered(trial, gateway.now)
    assert gateway.router.decide(to_a, gateway.now).node == "a"


def test_a_trial_whose_client_left_lets_another_one_try() -> None:
    gateway = Gateway()
    to_a = Wanted(MODEL, tried=frozenset("bc"))
    for _ in range(3):
        gateway.router.failed(gateway.router.route(to_a, gateway.now), 502, gateway.now)
    gateway.now = 5
    gateway.speak("a")
    trial = gateway.router.route(to_a, gateway.now)
    gateway.router.ended(trial, gateway.now, is_whole=False)
    assert gateway.router.route(to_a, gateway.now).is_trial


def test_full_nodes_are_not_broken_nodes() -> None:
    gateway = Gateway()
    for _ in range(9):
        gateway.router.failed(gateway.router.route(WANTED, 0), 503, 0)
    assert not list(gateway.router.breaker.closed_to(0))
    assert all(not node.sent for node in gateway.router.view(0).nodes.values())


def test_nodes_with_other_files_under_one_name_are_warm_for_their_own() -> None:
    gateway = Gateway()
    other = "sha256:2"
    gateway.speak("a", models={MODEL: other}, loaded={other: LoadedModel(other, 4)})
    routed = gateway.router.route(replace(WANTED, digest=other), 0)
    gateway.router.answered(routed, 0)
    assert routed.decision.node == "a"
    assert gateway.router.decide(WANTED, 0).node == "a"
    assert gateway.router.decide(replace(WANTED, digest=DIGEST), 0).why is Why.LEAST


def test_no_node_at_all() -> None:
    routed = Router(Directory()).route(WANTED, 0)
    assert routed == Routed(WANTED, routed.decision)
    router = Router(Directory())
    router.answered(routed, 0)
    router.failed(routed, None, 0)
    router.ended(routed, 0)
    assert not router.view(0).nodes
