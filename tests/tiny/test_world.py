"""The data of the built-in model: held-out prompts stay out of training, and seeds fix everything."""

from __future__ import annotations

from itertools import islice

import pytest

from tiny.dialogues import is_held_out, normalise
from tiny.world import HELD_OUT_PER_SKILL, held_out, training_dialogues


@pytest.mark.slow
def test_held_out_prompts_never_occur_in_training() -> None:
    """No prompt of the held-out set is the prompt of any of many training dialogues."""
    dialogues = held_out()
    asked = {normalise(dialogue.canonical[-1]) for dialogue in dialogues}
    trained = {
        normalise(text) for dialogue in islice(training_dialogues(7), 3000) for text in dialogue.canonical
    }
    assert len(dialogues) == sum(HELD_OUT_PER_SKILL.values())
    assert len(asked) >= 200  # some prompts differ in nothing but case and punctuation
    assert not asked & trained
    assert all(is_held_out(dialogue.canonical[-1]) for dialogue in dialogues)


def test_a_seed_fixes_the_dialogues() -> None:
    """The same seed draws the same dialogues, another one others."""

    def drawn(seed: int) -> list[str]:
        return [dialogue.completion for dialogue in islice(training_dialogues(seed), 50)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_every_completion_passes_its_own_check() -> None:
    """What is taught as right counts as right when it is scored."""
    from tiny.evaluate import is_right

    for dialogue in islice(training_dialogues(3), 500):
        assert is_right(dialogue, dialogue.completion), dialogue
