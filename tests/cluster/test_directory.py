"""What a gateway knows of nodes over time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from corral.cluster.directory import Changes, Directory, Heartbeat, Sent
from corral.cluster.holding import Holding
from corral.cluster.load import busy
from corral.cluster.view import Health, Holders, LoadedModel, NodeView

MODEL, DIGEST, OTHER = "m:latest", "sha256:1", "sha256:2"


def beat(number: int = 0, epoch: str = "1", node: str = "a", **fields: Any) -> Heartbeat:
    return replace(Heartbeat(node, epoch, number), **fields)


def test_what_a_request_changes_is_all_that_changes() -> None:
    """`after` is `replace`, so a field that it forgets would be lost with each request."""
    full = NodeView(
        "a", "http://a", "1", Health.SUSPECT, True, True, {MODEL: DIGEST}, {DIGEST: LoadedModel(DIGEST)},
        {DIGEST: 1}, {DIGEST: 2}, 3, 4, {DIGEST: 5.0}, {DIGEST: 6.0}, {DIGEST: 7.0},
    )  # fmt: skip
    new = {"sent": {}, "request_seconds": {DIGEST: 8.0}, "block_seconds": {}}
    assert full.after() == full
    assert full.after(**new) == replace(full, **new)  # type: ignore[arg-type]


class TestHealth:
    def test_nothing_goes_to_a_node_that_was_never_heard(self) -> None:
        directory = Directory()
        directory.add("a", "http://a")
        assert directory.view(0).nodes["a"].health is Health.SUSPECT
        directory.heard(beat(), 100)
        node = directory.view(100).nodes["a"]
        assert (node.health, node.url) == (Health.ALIVE, "http://a")

    @pytest.mark.parametrize(
        ("now", "health"), [(1.5, "alive"), (1.6, "suspect"), (10, "suspect"), (10.1, "gone"), (1e9, "gone")]
    )
    def test_silence(self, now: float, health: str) -> None:
        directory = Directory()
        directory.heard(beat(), 0)
        assert directory.view(now).nodes["a"].health == health

    def test_one_word_is_enough_to_be_back(self) -> None:
        directory = Directory()
        directory.heard(beat(), 0)
        for now in (1.6, 11.0):
            assert directory.view(now).nodes["a"].health is not Health.ALIVE
        directory.heard(beat(1), 12)
        assert directory.view(13.5).nodes["a"].health is Health.ALIVE
        assert directory.view(13.6).nodes["a"].health is Health.SUSPECT

    def test_a_broken_connection_is_reason_enough(self) -> None:
        directory = Directory()
        directory.heard(beat(), 0)
        directory.lost("a")
        directory.lost("nobody")
        assert directory.view(0.1).nodes["a"].health is Health.SUSPECT
        assert directory.view(10.1).nodes["a"].health is Health.GONE
        directory.heard(beat(1), 11)
        assert directory.view(11).nodes["a"].health is Health.ALIVE


class TestWords:
    def test_what_comes_late_changes_nothing(self) -> None:
        directory = Directory()
        directory.heard(beat(5, free_bytes=5), 0)
        directory.heard(beat(4, free_bytes=4), 1)
        assert directory.view(1).nodes["a"].free_bytes == 5
        assert directory.heard(beat(0, "2", free_bytes=7), 2) == Changes(has_restarted=True)
        assert directory.heard(beat(9, "1", free_bytes=9), 3) == Changes()
        assert directory.view(3).nodes["a"].free_bytes == 7
        assert directory.view(3.6).nodes["a"].health is Health.SUSPECT

    def test_the_first_word_is_not_a_restart(self) -> None:
        assert Directory().heard(beat(), 0) == Changes()

    def test_models_that_left_memory(self) -> None:
        directory = Directory()
        ready, loading = LoadedModel(DIGEST), LoadedModel(DIGEST, is_loading=True)
        directory.heard(beat(0, loaded={DIGEST: loading}), 0)
        assert directory.heard(beat(1, loaded={DIGEST: ready, OTHER: LoadedModel(OTHER)}), 0) == Changes()
        changes = directory.heard(beat(2, loaded={DIGEST: loading, OTHER: LoadedModel(OTHER)}), 0)
        assert changes.unloaded == {DIGEST}, "a load from nothing of what was ready"
        assert directory.heard(beat(3), 0).unloaded == {DIGEST, OTHER}

    def test_a_view_does_not_change(self) -> None:
        directory = Directory()
        directory.heard(beat(0, models={MODEL: DIGEST}), 0)
        view = directory.view(0)
        directory.heard(beat(1, models={MODEL: OTHER}), 0)
        directory.sent("a", DIGEST, 0)
        directory.heard(beat(0, node="b", models={MODEL: DIGEST}), 0)
        assert view.nodes.keys() == {"a"}
        assert view.nodes["a"].models == {MODEL: DIGEST}
        assert view.models == {MODEL: Holders(off=("a",), digests={DIGEST: 1})}
        assert directory.view(0).models == {MODEL: Holders(off=("a", "b"), digests={OTHER: 1, DIGEST: 1})}

    def test_who_has_a_model(self) -> None:
        directory = Directory()
        directory.heard(beat(0, models={MODEL: DIGEST, "n": OTHER}), 0)
        directory.heard(beat(0, node="b", models={"n": OTHER}), 0)
        directory.heard(beat(1, models={MODEL: OTHER}), 0)
        assert directory.view(0).models == {
            MODEL: Holders(off=("a",), digests={OTHER: 1}),
            "n": Holders(off=("b",), digests={OTHER: 1}),
        }
        directory.remove("b")
        directory.remove("b")
        assert directory.view(0).models == {MODEL: Holders(off=("a",), digests={OTHER: 1})}
        assert set(directory.names()) == {"a"}

    def test_drained_here_or_there(self) -> None:
        directory = Directory()
        directory.heard(beat(), 0)
        directory.drain("a")
        directory.heard(beat(1), 0)
        assert directory.view(0).nodes["a"].is_draining
        directory.drain("a", is_draining=False)
        assert not directory.view(0).nodes["a"].is_draining
        directory.heard(beat(2, is_draining=True), 0)
        assert directory.view(0).nodes["a"].is_draining


class TestRequests:
    def test_what_others_sent_is_told_apart(self) -> None:
        directory = Directory()
        mine = [directory.sent("a", DIGEST, 0) for _ in range(2)]
        assert mine[0].ahead == 1
        directory.heard(beat(), 0)
        mine = [directory.sent("a", DIGEST, 0) for _ in range(2)]
        directory.heard(beat(1, loaded={DIGEST: LoadedModel(DIGEST, 4, 4, 1)}), 0)
        assert busy(directory.view(0).nodes["a"], DIGEST) == 5
        directory.sent("a", DIGEST, 0)
        assert busy(directory.view(0).nodes["a"], DIGEST) == 6
        for sent in mine:
            directory.ended(sent, 1)
        assert busy(directory.view(0).nodes["a"], DIGEST) == 4

    def test_how_long_requests_take_without_their_wait(self) -> None:
        """Four at once on one slot end after 2, 4, 6 and 8 s: each takes 2 s."""
        directory = Directory()
        directory.heard(beat(0, loaded={DIGEST: LoadedModel(DIGEST, 1)}), 0)
        sent = [directory.sent("a", DIGEST, 0) for _ in range(4)]
        for i, one in enumerate(sent):
            directory.ended(one, 2.0 * (i + 1))
        assert directory.view(8).nodes["a"].request_seconds[DIGEST] == pytest.approx(2)

    def test_how_long_cold_blocks_take(self) -> None:
        """Of requests that did not wait, for a slot or a load, and had some."""
        directory = Directory()
        first = directory.sent("a", DIGEST, 0)
        directory.heard(beat(0, loaded={DIGEST: LoadedModel(DIGEST, 1, is_loading=True)}), 0)
        directory.ended(first, 9)
        loading = directory.sent("a", DIGEST, 0)
        directory.heard(beat(1, loaded={DIGEST: LoadedModel(DIGEST, 1)}), 0)
        directory.ended(loading, 9)
        alone = directory.sent("a", DIGEST, 0)
        second = directory.sent("a", DIGEST, 0)
        for sent, blocks in ((first, 10), (loading, 10), (second, 10), (alone, 2)):
            directory.answered(sent, blocks, 50)
        assert directory.view(0).nodes["a"].block_seconds == {}
        assert directory.view(0).nodes["a"].request_seconds == {}
        directory.answered(alone, 10, 5)
        assert directory.view(0).nodes["a"].block_seconds == {DIGEST: 0.5}

    def test_newer_durations_count_more(self) -> None:
        directory = Directory()
        directory.heard(beat(0, loaded={DIGEST: LoadedModel(DIGEST, 4)}), 0)
        for seconds in [1.0] * 5 + [3.0] * 20:
            directory.ended(directory.sent("a", DIGEST, 0), seconds)
        assert 2.9 < directory.view(0).nodes["a"].request_seconds[DIGEST] < 3
        directory.ended(directory.sent("a", DIGEST, 0), 1000, is_measured=False)
        assert directory.view(0).nodes["a"].request_seconds[DIGEST] < 3

    def test_requests_of_a_node_that_left(self) -> None:
        directory = Directory()
        directory.heard(beat(), 0)
        sent = directory.sent("a", DIGEST, 0)
        directory.remove("a")
        directory.ended(sent, 1)
        directory.ended(directory.sent("nobody", DIGEST, 1), 2)
        directory.heard(beat(1), 3)
        directory.ended(sent, 4)
        assert directory.view(4).nodes["a"].sent == {}


class Requests(RuleBasedStateMachine):
    """Whatever the order, counts are those of what is under way, and nothing stays when all has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Directory()
        for node in "ab":
            self.directory.add(node)
        self.under_way: list[Sent] = []
        self.number = 0

    @rule(node=st.sampled_from("ab"), digest=st.sampled_from((DIGEST, OTHER)))
    def sent(self, node: str, digest: str) -> None:
        self.under_way.append(self.directory.sent(node, digest, 0))

    @rule(data=st.data())
    def ended(self, data: st.DataObject) -> None:
        if self.under_way:
            at = data.draw(st.integers(0, len(self.under_way) - 1))
            self.directory.ended(self.under_way.pop(at), 1, is_measured=data.draw(st.booleans()))

    @rule(
        node=st.sampled_from("ab"),
        epoch=st.sampled_from("12"),
        models=st.dictionaries(st.sampled_from("mn"), st.sampled_from((DIGEST, OTHER))),
        loaded=st.sets(st.sampled_from((DIGEST, OTHER))),
    )
    def spoke(self, node: str, epoch: str, models: dict[str, str], loaded: set[str]) -> None:
        self.number += 1
        memory = {digest: LoadedModel(digest) for digest in loaded}
        self.directory.heard(beat(self.number, epoch, node, models=models, loaded=memory), 0)

    @invariant()
    def counts_are_right(self) -> None:
        for node in self.directory.view(0).nodes.values():
            mine = [sent.digest for sent in self.under_way if sent.node == node.id]
            assert node.sent == {digest: mine.count(digest) for digest in set(mine)}

    @invariant()
    def the_table_of_models_is_what_the_nodes_say(self) -> None:
        """Though it is only ever changed in parts."""
        view, expected = self.directory.view(0), Holding()
        for node in view.nodes.values():
            expected.changed(NodeView(node.id), node)
        assert view.models == expected.models
        for model, held in expected.models.items():
            on = {
                name
                for name, node in view.nodes.items()
                if model in node.models and node.is_on(node.models[model])
            }
            assert set(held.on) == on
            assert set(held.off) == {name for name, node in view.nodes.items() if model in node.models} - on


TestCounts = Requests.TestCase
TestCounts.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
