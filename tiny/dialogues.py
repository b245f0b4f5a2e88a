"""Whole dialogues: system prompts, several turns, noise, and the split into training and held-out.

Invariant: a dialogue is held out by a hash of its canonical text (before noise), so no training dialogue ever has the
prompt of a held-out one.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from tiny import facts
from tiny.questions import IDENTITY_NAME, WHO_TEXTS, Question, common_texts, make_question
from tiny.tools import invented_word, make_tool_use

__all__ = ["Dialogue", "is_held_out", "make_dialogue", "normalise"]

_HELD_OUT_SHARE = 16  # one prompt in 16 is held out


@dataclass(slots=True)
class Dialogue:
    """Messages, the completion that must follow, and what a checker looks for.

    `canonical` are the texts whose hash decides the split. `check` is one of words, exact, json, tool, upper, think.
    """

    skill: str
    messages: list[dict[str, Any]]
    completion: str
    canonical: list[str]
    check: str
    must: tuple[str, ...] = ()
    expected: Any = None
    tools: list[dict[str, Any]] | None = None
    is_thinking: bool = False
    json_style: str = field(default="plain")


def normalise(text: str) -> str:
    """Keep letters, digits and arithmetic signs, in lower case: what two prompts must differ in."""
    return " ".join("".join(c if c.isalnum() or c in "+-*=" else " " for c in text.lower()).split())


@cache
def _common() -> frozenset[str]:
    return frozenset(normalise(text) for text in common_texts())


@cache
def is_held_out(text: str) -> bool:
    """Tell whether a canonical text belongs to the held-out side."""
    plain = normalise(text)
    return plain not in _common() and hashlib.sha256(plain.encode()).digest()[0] % _HELD_OUT_SHARE == 0


def _typo(word: str, rng: Random) -> str:
    at = rng.randrange(1, len(word) - 2)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _noisy(text: str, keep: tuple[str, ...], rng: Random) -> str:
    """Vary case, punctuation and spelling as people do; the parts in `keep` stay."""
    if any(part in text for part in keep):
        return text.rstrip("?.") if rng.random() < 0.15 else text
    if rng.random() < 0.3:
        text = text.lower()
    if rng.random() < 0.25:
        text = text.rstrip("?.! ") or text
    elif rng.random() < 0.1:
        text += rng.choice(["?", "!", " ", " please", " Please.", "?!"]) if not text.endswith("=") else ""
    if rng.random() < 0.08:
        words = text.split(" ")
        at = rng.randrange(len(words))
        if len(words[at]) > 4 and words[at].islower() and words[at].isalpha():
            words[at] = _typo(words[at], rng)
            text = " ".join(words)
    if rng.random() < 0.02:
        text = text.upper()
    return text


_PLAIN_SYSTEMS = ["You are a helpful assistant.", "You are a helpful assistant.", "Be brief.", "Answer the question.", "You are an assistant.",
                  "You are a helpful AI assistant.", "Answer in one sentence.", "Be kind and short.", "You answer questions."]  # fmt: skip
_NAME_SYSTEMS = ["You are {n}.", "You are {n}, a helpful assistant.", "Your name is {n}.", "You are called {n}. Be brief.", "You are {n} from {p}.",
                 "Act as {n}, a friendly robot.", "You are an assistant named {n}.", "Your name is {n}. Answer questions.",
                 "You are a helpful assistant called {n}.", "Pretend that you are {n}.", "I call you {n}."]  # fmt: skip
_UPPER_SYSTEMS = ["Answer in UPPER CASE.", "Always reply in capital letters.", "Write everything in upper case.", "Use only capital letters.",
                  "Respond in all caps.", "You must answer in uppercase.", "You always shout: write in CAPITAL LETTERS.", "Reply in UPPERCASE only.",
                  "Answer everything in ALL CAPS.", "Always answer in upper case."]  # fmt: skip
_JSON_SYSTEMS = [
    "Answer in JSON.",
    "Reply only with JSON.",
    "Always respond with a JSON object.",
    "You answer in JSON format.",
    "Output JSON only.",
]
_JSON_ASKS = ["{q} Answer in JSON.", "{q} Reply as JSON.", "{q} Respond in JSON.", "{q} Use JSON.", "{q} Give the answer as JSON.",
              "{q} Return a JSON object.", "Answer in JSON: {q}", "As JSON: {q}", "{q} Respond using JSON."]  # fmt: skip
_JSON_KEY_ASKS = ['{q} Answer in JSON with the key "{k}".', '{q} Reply as JSON with key "{k}".', '{q} Use JSON like {{"{k}": ...}}.',
                  'Answer in JSON with the key "{k}": {q}', '{q} Return a JSON object with the field "{k}".']  # fmt: skip
_KEYS = [
    "answer",
    "result",
    "value",
    "reply",
    "city",
    "name",
    "output",
    "text",
    "response",
    "solution",
    "item",
    "data",
]


def _person(rng: Random) -> str:
    name = rng.choice(facts.PEOPLE) if rng.random() < 0.5 else invented_word(rng)
    return name.lower() if rng.random() < 0.1 else name


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _system(text: str) -> list[dict[str, Any]]:
    return [{"role": "system", "content": text}]


def single(rng: Random) -> Dialogue:
    """One question, with or without a plain system prompt."""
    q = make_question(rng)
    start = _system(rng.choice(_PLAIN_SYSTEMS)) if rng.random() < 0.2 else []
    check = "exact" if q.skill == "tasks" else "words"
    return Dialogue(q.skill, [*start, _user(_noisy(q.text, q.keep, rng))], q.answer, [q.text], check, q.must)


def several(rng: Random) -> Dialogue:
    """Some questions in a row, with follow-ups such as "And Germany?"."""
    turns = rng.choice([2, 2, 2, 3, 3, 4, 5, 6, 12])
    messages: list[dict[str, Any]] = _system(rng.choice(_PLAIN_SYSTEMS)) if rng.random() < 0.15 else []
    canonical: list[str] = []
    q = make_question(rng)
    must = q.must
    for turn in range(turns):
        if turn:
            messages.append(_assistant(q.answer))
            previous, q = q, make_question(rng)
            if previous.json_key == "capital" and rng.random() < 0.5:
                q = _follow_up(rng)
        messages.append(_user(_noisy(q.text, q.keep, rng)))
        canonical.append(q.text)
        must = q.must
    return Dialogue("multi_turn", messages, q.answer, canonical, "words", must)


def _follow_up(rng: Random) -> Question:
    country = rng.choice(list(facts.CAPITALS))
    city = facts.CAPITALS[country]
    text = rng.choice(
        [
            "And {c}?",
            "And of {c}?",
            "What about {c}?",
            "and the capital of {c}?",
            "How about {c}?",
            "Now {c}.",
        ]
    ).format(c=country)
    fact = f"The capital of {country} is {city}."
    return Question("capitals", text, fact, fact, (city,), "capital", city)


def named(rng: Random) -> Dialogue:
    """A system prompt gives the model a name."""
    name = _person(rng)
    system = rng.choice(_NAME_SYSTEMS).format(n=name, p=rng.choice(facts.PLACES))
    if rng.random() < 0.75:
        lead = rng.choice(
            ["", "", "Hi! ", "Hello, ", "Tell me, ", "Please tell me: ", "Hey, ", "Quick question: "]
        )
        text = lead + rng.choice(WHO_TEXTS)
        return Dialogue(
            "system_name",
            [*_system(system), _user(_noisy(text, (), rng))],
            f"I am {name}.",
            [f"{system} {text}"],
            "words",
            (name,),
        )
    q = make_question(rng)
    while IDENTITY_NAME in q.answer:
        q = make_question(rng)
    return Dialogue(
        "system_name",
        [*_system(system), _user(_noisy(q.text, q.keep, rng))],
        q.answer,
        [f"{system} {q.text}", q.text],
        "words",
        q.must,
    )


def upper(rng: Random) -> Dialogue:
    """A system prompt or the user asks for UPPER CASE."""
    q, order = make_question(rng), rng.choice(_UPPER_SYSTEMS)
    if rng.random() < 0.75:
        if rng.random() < 0.2:
            order = "You are a helpful assistant. " + order
        messages = [*_system(order), _user(_noisy(q.text, q.keep, rng))]
    else:
        messages = [_user(f"{q.text.rstrip()} {order}")]
    return Dialogue(
        "upper_case",
        messages,
        q.answer.upper(),
        [f"{order} {q.text}", q.text],
        "upper",
        tuple(m.upper() for m in q.must),
    )


_TELL_NAME = ["My name is {n}.", "I am {n}.", "I'm {n}.", "Hi, I am {n}.", "Hello, my name is {n}.", "Call me {n}.", "You can call me {n}.",
              "Hey, I'm {n}.", "Remember my name: {n}.", "People call me {n}.", "This is {n}.", "The name is {n}."]  # fmt: skip
_ASK_NAME = ["What is my name?", "What's my name?", "Who am I?", "Do you remember my name?", "Do you know my name?", "How am I called?",
             "Tell me my name.", "Can you say my name?", "What did I say my name was?", "Say my name.", "Which name did I tell you?"]  # fmt: skip
_OTHER_FACTS: list[tuple[str, list[str], list[str], str]] = [
    ("colour", ["My favourite colour is {v}.", "I like {v} best of all colours.", "I love the colour {v}."],
     ["What is my favourite colour?", "Which colour do I like?", "What's my favourite color?"], "Your favourite colour is {v}."),
    ("city", ["I live in {v}.", "My home is in {v}.", "I come from {v}.", "My city is {v}."],
     ["Where do I live?", "Which city do I live in?", "Where is my home?", "Where am I from?"], "You live in {v}."),
    ("pet", ["My dog is called {v}.", "I have a dog named {v}.", "My dog's name is {v}."],
     ["What is my dog called?", "What is the name of my dog?", "Do you know my dog's name?"], "Your dog is called {v}."),
    ("age", ["I am {v} years old.", "My age is {v}.", "I'm {v} years old."],
     ["How old am I?", "What is my age?", "Do you know how old I am?"], "You are {v} years old."),
]  # fmt: skip


def _fact_about_user(rng: Random) -> tuple[str, str, str, str, str]:
    """Return value, telling, acknowledgement, asking and answer."""
    if rng.random() < 0.65:
        name = _person(rng)
        return (
            name,
            rng.choice(_TELL_NAME).format(n=name),
            f"Nice to meet you, {name}!",
            rng.choice(_ASK_NAME),
            f"Your name is {name}.",
        )
    kind, tells, asks, answer = rng.choice(_OTHER_FACTS)
    value = {
        "colour": rng.choice(["blue", "green", "red", "yellow", "white", "black", "orange", "grey"]),
        "city": rng.choice([*facts.PLACES, *facts.CAPITALS.values(), invented_word(rng)]),
        "pet": rng.choice([*facts.PEOPLE, invented_word(rng), invented_word(rng)]),
        "age": str(rng.randrange(10, 99)),
    }[kind]
    return (
        value,
        rng.choice(tells).format(v=value),
        "I will remember that.",
        rng.choice(asks),
        answer.format(v=value),
    )


def memory(rng: Random) -> Dialogue:
    """The user tells a name (or another fact) and asks for it some turns later."""
    if rng.random() < 0.07:
        return Dialogue(
            "memory",
            [_user(rng.choice(_ASK_NAME))],
            "You have not told me your name.",
            [],
            "words",
            ("not told",),
        )
    value, tell, acknowledge, ask, answer = _fact_about_user(rng)
    start = _system(rng.choice(_PLAIN_SYSTEMS)) if rng.random() < 0.15 else []
    if rng.random() < 0.1:
        return Dialogue(
            "memory", [*start, _user(f"{tell} {ask}")], answer, [f"{tell} {ask}"], "words", (value,)
        )
    messages = [*start, _user(tell), _assistant(acknowledge)]
    canonical = [tell]
    for _ in range(rng.choice([0, 0, 1, 1, 1, 2, 3, 5])):
        q = make_question(rng)
        messages += [_user(_noisy(q.text, q.keep, rng)), _assistant(q.answer)]
        canonical.append(q.text)
    messages.append(_user(_noisy(ask, (value,), rng)))
    return Dialogue("memory", messages, answer, [*canonical, f"{tell} {ask}"], "words", (value,))


def json_answer(rng: Random) -> Dialogue:
    """JSON on request: the natural key, or one that the user names."""
    q = make_question(rng)
    while not q.json_key:
        q = make_question(rng)
    key, kind = q.json_key, rng.random()
    if kind < 0.2:
        order = rng.choice(_JSON_SYSTEMS)
        messages, canonical = (
            [*_system(order), _user(_noisy(q.text, q.keep, rng))],
            [f"{order} {q.text}", q.text],
        )
    elif kind < 0.6:
        text = rng.choice(_JSON_ASKS).format(q=q.text)
        messages, canonical = [_user(text)], [text, q.text]
    elif kind < 0.9:
        key = rng.choice(_KEYS) if rng.random() < 0.6 else invented_word(rng).lower()
        text = rng.choice(_JSON_KEY_ASKS).format(q=q.text, k=key)
        messages, canonical = [_user(text)], [text, q.text]
    else:
        country = rng.choice(list(facts.CAPITALS))
        text = rng.choice(["Tell me about {c}. Answer in JSON.", "Describe {c} as JSON.", "Give me {c} with its capital as JSON.",
                           "Tell me about {c} in JSON with country and capital.", "Write {c} and its capital as JSON."]).format(c=country)  # fmt: skip
        value = {"country": country, "capital": facts.CAPITALS[country]}
        return Dialogue("json", [_user(text)], json.dumps(value), [text], "json", (), value)
    answer = {key: q.json_value}
    return Dialogue("json", messages, json.dumps(answer, ensure_ascii=False), canonical, "json", (), answer)


_TOOL_SYSTEMS = [
    "",
    "",
    "",
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "Use the tools.",
    "You can call tools.",
    "Be brief.",
]


def format_call(name: str, arguments: dict[str, Any]) -> str:
    """Write a call as the template writes it."""
    body = json.dumps(arguments, ensure_ascii=False)
    return f'<tool_call>\n{{"name": "{name}", "arguments": {body}}}\n</tool_call>'


def tool_call(rng: Random) -> Dialogue:
    """A call to an offered tool, the answer from its result, or a question that needs no tool."""
    use, offered = make_tool_use(rng)
    order, style, kind = (
        rng.choice(_TOOL_SYSTEMS),
        rng.choice(["plain", "plain", "compact", "sorted"]),
        rng.random(),
    )
    start = _system(order) if order else []
    key = f"{order} {use.tool['function']['name']} {' '.join(use.call.arguments)} {use.text}"
    if kind > 0.88:
        q = make_question(rng)
        while q.skill in ("sums", "unknown") or "+" in q.text:
            q = make_question(rng)
        canonical = [f"{use.tool['function']['name']} {q.text}", q.text]
        return Dialogue(
            "no_tool_needed",
            [*start, _user(_noisy(q.text, q.keep, rng))],
            q.answer,
            canonical,
            "words",
            q.must,
            None,
            offered,
            False,
            style,
        )
    messages = [*start]
    canonical = [key]
    if rng.random() < 0.12:
        q = make_question(rng)
        while q.skill in ("sums", "unknown") or "+" in q.text:
            q = make_question(rng)
        messages += [_user(_noisy(q.text, q.keep, rng)), _assistant(q.answer)]
        canonical.append(q.text)
    messages.append(_user(_noisy(use.text, use.keep, rng)))
    call = format_call(use.call.name, use.call.arguments)
    if kind < 0.55:
        expected = {"name": use.call.name, "arguments": use.call.arguments}
        return Dialogue("tool_call", messages, call, canonical, "tool", (), expected, offered, False, style)
    function = {"name": use.call.name, "arguments": use.call.arguments}
    messages.append(
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
    )
    messages.append({"role": "tool", "content": use.result, "tool_name": use.call.name})
    canonical.append(f"{key} {use.result}")
    return Dialogue(
        "tool_answer", messages, use.answer, canonical, "words", use.must, None, offered, False, style
    )


def thinking(rng: Random) -> Dialogue:
    """Thinking is on: a short thought, then the answer."""
    kind = rng.random()
    if kind < 0.12:
        d = tool_call(rng)
        while d.skill == "no_tool_needed":
            d = tool_call(rng)
        thought = "I call a tool." if d.skill == "tool_call" else "The tool gave me the answer."
        d.completion = f"<think>\n{thought}\n</think>\n\n{d.completion}"
        d.is_thinking, d.skill = True, "think" if d.skill == "tool_answer" else "tool_call"
        return d
    if kind < 0.27:
        d = rng.choice([named, upper, memory, json_answer])(rng)
        thought = {"system_name": "My system text tells me who I am.", "upper_case": "I write in capital letters.",
                   "memory": "I look at what the user told me.", "json": "I answer in JSON."}[d.skill]  # fmt: skip
        d.completion = f"<think>\n{thought}\n</think>\n\n{d.completion}"
        d.is_thinking = True
        return d
    q = make_question(rng)
    messages: list[dict[str, Any]] = []
    canonical: list[str] = []
    if rng.random() < 0.2:
        messages.extend(_system(rng.choice(_PLAIN_SYSTEMS)))
    if rng.random() < 0.2:
        earlier = make_question(rng)
        messages += [_user(_noisy(earlier.text, earlier.keep, rng)), _assistant(earlier.answer)]
        canonical.append(earlier.text)
    messages.append(_user(_noisy(q.text, q.keep, rng)))
    completion = f"<think>\n{q.thought}\n</think>\n\n{q.answer}"
    return Dialogue("think", messages, completion, [*canonical, q.text], "think", q.must, None, None, True)


MAKERS: list[tuple[float, Callable[[Random], Dialogue]]] = [
    (0.27, single), (0.15, several), (0.08, named), (0.09, upper), (0.11, memory), (0.08, json_answer), (0.14, tool_call), (0.08, thinking),
]  # fmt: skip


def make_dialogue(rng: Random) -> Dialogue:
    """Draw a dialogue of any kind, on either side of the split."""
    return rng.choices([maker for _, maker in MAKERS], [weight for weight, _ in MAKERS])[0](rng)
