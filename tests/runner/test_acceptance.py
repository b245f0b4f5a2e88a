"""Guessing tokens is given up for a model where guesses are wrong, and tried again later."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from corral.runner.acceptance import Acceptance, Guesses
from corral.runner.interface import Final, RunnerSpec, Speculation

SPEC = RunnerSpec(Path("m"), "m", speculation=Speculation("ngram-simple", 8, 8, is_automatic=True))

# (tokens, guessed, accepted) of answers as the engine counts them.
answers = st.integers(1, 2000).flatmap(
    lambda tokens: st.integers(0, 4000).flatmap(
        lambda guessed: st.tuples(
            st.just(tokens), st.just(guessed), st.integers(0, max(min(guessed, tokens - 1), 0))
        )
    )
)


@given(st.lists(answers, max_size=30))
def test_never_given_up_while_it_saves_more_than_it_costs(counts: list[tuple[int, int, int]]) -> None:
    """Whatever the order: not as long as each answer gains; and whoever gave up has seen enough to say so."""
    gaining = Acceptance()
    for tokens, guessed, accepted in counts:
        assert not gaining.note(tokens, min(guessed, 5 * accepted), accepted, 0.0)
    assert gaining.pays(0.0)
    found, seen = Acceptance(), 0
    for count in counts:
        seen += count[0]
        if found.note(*count, 0.0):
            assert seen >= 256
            return


@given(answers.filter(lambda count: count[1] > 0), st.integers(1, 40))
def test_wrong_guesses_end_it(count: tuple[int, int, int], share: int) -> None:
    """One wrong guess for every ten tokens costs 2 %: more than that is found out within 20,000 tokens."""
    found = Acceptance()
    ended = [found.note(100, 10 + share, 0, 5.0) for _ in range(200)]
    assert any(ended)
    assert not found.pays(5.0)


def test_rare_wrong_guesses_are_harmless() -> None:
    found = Acceptance()
    assert not any(found.note(1000, 64, 0, 0.0) for _ in range(100))
    assert found.pays(0.0)


def test_a_head_costs_more() -> None:
    """What pays from earlier tokens need not pay where each guess is computed."""
    assert not Acceptance().note(1000, 2000, 500, 0.0)
    assert Acceptance().note(1000, 2000, 500, 0.0, is_head=True)


def test_it_is_tried_again_after_a_pause_that_doubles_up_to_a_day() -> None:
    found, now_s, pauses = Acceptance(), 0.0, []
    for _ in range(8):
        assert found.note(1000, 2000, 0, now_s)
        began_s = now_s
        while not found.pays(now_s):
            now_s += 600
        pauses.append(now_s - began_s)
    assert pauses[:4] == [1800, 3600, 7200, 14400]
    assert pauses[-1] == 86_400


def test_only_what_nobody_asked_for_is_left_out() -> None:
    """By weights, whatever the rest of the order; an external engine may be too old to know the words."""
    guesses = Guesses()
    wrong = Final("stop", 10, 0, 0, 5000, 0, draft_count=8000, draft_accepted_count=0)
    wanted = RunnerSpec(Path("m"), "m", speculation=Speculation("ngram-simple", 8, 8))
    other = RunnerSpec(Path("n"), "n", speculation=SPEC.speculation)
    guesses.note(wanted, wrong)
    assert guesses.allowed(SPEC, is_external=False) == SPEC
    guesses.note(SPEC, wrong)
    assert guesses.allowed(SPEC, is_external=False).speculation is None
    assert guesses.allowed(wanted, is_external=False) == wanted
    assert guesses.allowed(other, is_external=False) == other
    assert guesses.allowed(other, is_external=True).speculation is None
    assert guesses.allowed(wanted, is_external=True) == wanted
