"""The router beside simpler ones, and beside one node that has everything; all in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from bench.bench_cluster_simulation import note, percentile, row
from bench.cluster.node import Job, Machine, Model, Node
from bench.cluster.policies import POLICIES
from bench.cluster.simulation import Results, Setup, Simulation
from bench.cluster.trace import App, Conversation, Load, conversations
from corral.cluster.directory import Directory
from corral.cluster.router import Router
from corral.cluster.view import Wanted

# Long instructions that many share, and a few questions each: more than the nodes can do without warm prompts.
BUSY = Setup(
    nodes=16,
    requests=2000,
    load=Load(models=2, apps=30, conversations_per_s=3.5, turns=2.0, system_bytes=9000),
    loss_s=60.0,
    replicas=16,
    warm_up=0.2,
)


@pytest.fixture(scope="module")
def results() -> dict[str, Results]:
    return {name: Simulation(BUSY, policy).run() for name, policy in POLICIES.items()}


@pytest.mark.slow
@pytest.mark.parametrize("other", [name for name in POLICIES if name != "Corral"])
def test_more_is_warm_and_nobody_waits_longer(results: dict[str, Results], other: str) -> None:
    """Than with any of the simpler policies, which choose among the same nodes."""
    ours, theirs = results["Corral"], results[other]
    assert ours.hit_share > theirs.hit_share
    for times, their_times in ((ours.queue_s, theirs.queue_s), (ours.first_s, theirs.first_s)):
        assert percentile(sorted(times), 0.99) <= percentile(sorted(their_times), 0.99)


@pytest.mark.slow
def test_nodes_that_are_lost_lose_no_request_before_its_first_byte(results: dict[str, Results]) -> None:
    ours = results["Corral"]
    assert ours.lost_nodes > 3
    assert ours.retried > 0
    assert ours.lost == 0


@pytest.mark.slow
def test_the_same_seed_gives_the_same_figures(results: dict[str, Results]) -> None:
    again = Simulation(BUSY, POLICIES["Corral"]).run()
    ours = results["Corral"]
    assert (again.hits, again.blocks, again.queue_s) == (ours.hits, ours.blocks, ours.queue_s)
    assert row("Corral", again) == row("Corral", ours)
    assert note(again) == note(ours)


class Cluster:
    """Nodes with one model in memory, behind the router."""

    def __init__(self, nodes: int) -> None:
        self.model = Model("m:latest", "sha256:1", 10**9)
        self.nodes = {
            f"n{i}": Node(f"n{i}", Machine(), {self.model.name: self.model.digest}) for i in range(nodes)
        }
        self.router, self.now = Router(Directory()), 100.0
        for node in self.nodes.values():
            node.load(self.model, 0.0)
        self.hits = self.blocks = 0

    def ask(self, talks: list[Conversation], load: Load) -> None:
        """A question of each at once; what is warm is counted as the nodes find it."""
        for node in self.nodes.values():
            self.router.heard(node.speak(self.now), self.now)
        under_way = []
        for talk in talks:
            keys, answers = talk.ask(load)
            wanted = Wanted(self.model.name, keys=keys, answers=answers, seed=talk.number)
            routed = self.router.route(wanted, self.now)
            job = Job(keys, self.model, talk.answer(load), self.now)
            node = self.nodes[routed.decision.node]
            node.take(job, self.now)
            under_way.append((routed, node, job, tuple(talk.keys)))
            self.now += 0.1
        for routed, node, job, keys_after in under_way:
            self.now = max(self.now, job.first_s)
            self.router.answered(routed, self.now)
            self.router.ended(routed, self.now + 1)
            node.finish(job, keys_after, self.now + 1)
            self.hits += job.warm
            self.blocks += len(job.keys)


def rounds(seed: int) -> Iterator[list[Conversation]]:
    """Twenty conversations with two system prompts, six questions each; up to twelve at a time, in any order."""
    chance = Random(seed)
    apps = [App(0, b"Be brief. " * 300), App(0, b"Be polite. " * 60)]
    talks = [Conversation(i, apps[i % 2], 6, Random(i)) for i in range(20)]
    while talks:
        some = chance.sample(talks, min(len(talks), chance.randint(1, 12)))
        yield some
        talks = [talk for talk in talks if talk.turns_left > 0]


@pytest.mark.parametrize("seed", range(5))
def test_three_nodes_find_nine_tenths_of_what_one_finds(seed: int) -> None:
    load = Load(question_bytes=200, answer_bytes=800)
    clusters = [Cluster(1), Cluster(3)]
    for cluster in clusters:
        for talks in rounds(seed):
            cluster.ask(talks, load)
    one, three = (cluster.hits / cluster.blocks for cluster in clusters)
    assert clusters[0].blocks == clusters[1].blocks
    assert one > 0.5
    assert three >= 0.9 * one
    used = {name for name, node in clusters[1].nodes.items() if node.replicas["sha256:1"].prompts}
    assert len(used) == 3, "one node for all would be warm as well"


def test_conversations_do_not_depend_on_who_answers() -> None:
    load = Load()
    one, other = (conversations(load, 7) for _ in range(2))
    for _ in range(50):
        (at, talk), (other_at, other_talk) = next(one), next(other)
        assert at == other_at
        assert talk.ask(load) == other_talk.ask(load)
        assert talk.answer(load) == other_talk.answer(load)


def test_the_model_that_is_asked_for_most_gets_its_part() -> None:
    trace = conversations(Load(models=10), 1)
    models = [next(trace)[1].app.model for _ in range(3000)]
    shares = [models.count(model) / 3000 for model in range(10)]
    assert 0.3 < shares[0] < 0.38
    assert shares[0] > 1.6 * shares[1] > 2.0 * shares[3]
