"""The data of `corral-tiny`: endless training dialogues, plain text, and the fixed held-out set.

Invariant: a held-out prompt is never drawn for training: every training dialogue whose canonical texts touch the
held-out side of the split is thrown away.
"""

from collections import Counter
from collections.abc import Iterator
from random import Random

from tiny import facts
from tiny.dialogues import Dialogue, is_held_out, make_dialogue

__all__ = ["HELD_OUT_PER_SKILL", "held_out", "plain_text", "training_dialogues"]

HELD_OUT_PER_SKILL = {
    "greetings": 15, "identity": 15, "capitals": 45, "sums": 45, "calendar": 25, "yes_no": 25, "general": 10, "unknown": 15, "tasks": 15,
    "system_name": 20, "upper_case": 20, "memory": 20, "multi_turn": 15, "json": 25, "tool_call": 30, "tool_answer": 20,
    "no_tool_needed": 10, "think": 20,
}  # fmt: skip


def training_dialogues(seed: int) -> Iterator[Dialogue]:
    """Yield training dialogues without end; the same seed gives the same ones."""
    rng = Random(seed)
    while True:
        dialogue = make_dialogue(rng)
        if not any(is_held_out(text) for text in dialogue.canonical):
            yield dialogue


def held_out(seed: int = 2026) -> list[Dialogue]:
    """Return the held-out set: for each skill its number of dialogues, each with an unseen last prompt."""
    rng = Random(seed)
    wanted = Counter(HELD_OUT_PER_SKILL)
    found: list[Dialogue] = []
    seen: set[str] = set()
    while wanted.total():
        dialogue = make_dialogue(rng)
        # The last canonical text is the asked question; for dialogues with a setting it includes the setting.
        if (
            not dialogue.canonical
            or not is_held_out(dialogue.canonical[-1])
            or dialogue.canonical[-1] in seen
        ):
            continue
        if wanted[dialogue.skill] > 0:
            wanted[dialogue.skill] -= 1
            seen.add(dialogue.canonical[-1])
            found.append(dialogue)
    return found


def plain_text(rng: Random) -> str:
    """A few sentences without any chat markup, so that raw completion has something to go on with."""
    lines: list[str] = []
    for _ in range(rng.randrange(2, 7)):
        country = rng.choice(list(facts.CAPITALS))
        at = rng.randrange(12)
        a = rng.randrange(20)
        b = rng.randrange(20 - a)
        person = rng.choice(facts.PEOPLE)
        lines.append(
            rng.choice([
                f"The capital of {country} is {facts.CAPITALS[country]}.", f"{facts.CAPITALS[country]} is the capital of {country}.",
                f"{country} is in {facts.CONTINENTS[country]}.", f"{a} + {b} = {a + b}.", f"{facts.MONTHS[at]} has {facts.MONTH_DAYS[at]} days.",
                f"{facts.MONTHS[(at + 1) % 12]} comes after {facts.MONTHS[at]}.", f"{facts.DAYS[(at + 1) % 7]} comes after {facts.DAYS[at % 7]}.",
                f"Once upon a time there was a small horse called {person}. It lived in a green corral.", f"My name is {person}. I live in {country}.",
                f"Hello, {person}! How are you today?", f"{person} has {a} apples and gets {b} more. That makes {a + b} apples.",
                "The sky is blue because the air scatters blue light more than red light.", f"1, 2, 3, 4, 5, 6, 7, 8, 9, 10. {person} can count.",
            ])
        )  # fmt: skip
    return rng.choice([" ", " ", "\n"]).join(lines)
