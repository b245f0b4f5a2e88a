"""Tool dialogues: tools with varied names and schemas, questions for them, calls and answers from results.

Invariant: names and argument names are drawn apart from the question, so a right call must copy them from the
system text.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tiny import facts

__all__ = ["Call", "ToolUse", "invented_word", "make_tool_use"]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as the model must write it."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A question that needs the first of `tools`, the right call, a result and the sentence made from it."""

    text: str
    tool: dict[str, Any]
    call: Call
    result: str
    answer: str
    must: tuple[str, ...]
    keep: tuple[str, ...]


_ONSETS = [
    "b",
    "br",
    "d",
    "dr",
    "f",
    "g",
    "k",
    "kr",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "tr",
    "v",
    "z",
    "th",
    "sh",
]
_VOWELS = ["a", "e", "i", "o", "u", "ai", "ee", "oo"]
_CODAS = ["", "", "n", "r", "l", "s", "k", "m", "x", "th"]


def invented_word(rng: Random) -> str:
    """Make up a capitalised word of two or three syllables, so that copying is learnt and not recall."""
    syllables = (
        rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.choice([2, 2, 3]))
    )
    return "".join(syllables).capitalize()


def _style(words: list[str], rng: Random) -> str:
    style = rng.random()
    if style < 0.7:
        return "_".join(words)
    if style < 0.85:
        return words[0] + "".join(word.capitalize() for word in words[1:])
    if style < 0.93:
        return "-".join(words)
    return "".join(words)


_GET = [
    "get",
    "get",
    "get_current",
    "fetch",
    "lookup",
    "find",
    "read",
    "show",
    "check",
    "query",
    "current",
    "ask",
    "load",
    "what",
    "tell",
]


def _name(nouns: list[str], rng: Random) -> str:
    words = f"{rng.choice(_GET)}_{rng.choice(nouns)}".split("_")
    if rng.random() < 0.15:
        words = words[1:] or words
    if rng.random() < 0.1:
        words.append(rng.choice(["now", "info", "tool", "v2", "api", "for", "data"]))
    return _style(words, rng)


def _tool(
    name: str, description: str, parameters: dict[str, dict[str, Any]], required: list[str], rng: Random
) -> dict[str, Any]:
    if rng.random() < 0.3:
        parameters = {
            key: {k: v for k, v in value.items() if k != "description"} for key, value in parameters.items()
        }
    schema = {"type": "object", "properties": parameters, "required": required}
    if rng.random() < 0.3:
        schema = {"type": "object", "required": required, "properties": parameters}
    function: dict[str, Any] = {"name": name, "description": description, "parameters": schema}
    if rng.random() < 0.1:
        del function["description"]
    return {"type": "function", "function": function}


def _place(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(list(facts.CAPITALS.values()))
    return rng.choice(facts.PLACES) if kind < 0.65 else invented_word(rng)


_PLACE_KEYS = [
    "city",
    "city",
    "location",
    "place",
    "town",
    "city_name",
    "where",
    "cityName",
    "location_name",
    "destination",
]
_PLACE_HELP = [
    "The city",
    "Name of the city",
    "The name of the city",
    "City name",
    "The place to look up",
    "The location, e.g. a city",
]


def _weather(rng: Random) -> ToolUse:
    place, key = _place(rng), rng.choice(_PLACE_KEYS)
    name = _name(["weather", "weather", "weather", "forecast", "temperature", "climate"], rng)
    about = rng.choice(["Get the weather", "Get the current weather for a city", "Current weather", "Returns the weather of a place",
                        "Look up the temperature in a city", "Weather forecast"])  # fmt: skip
    properties: dict[str, dict[str, Any]] = {key: {"type": "string", "description": rng.choice(_PLACE_HELP)}}
    arguments: dict[str, Any] = {key: place}
    text = rng.choice(["What is the weather in {p}?", "What's the weather like in {p}?", "How is the weather in {p}?", "Weather in {p}?",
                       "Tell me the weather in {p}.", "Is it raining in {p}?", "How warm is it in {p}?", "What is the weather like in {p} today?",
                       "Do I need a coat in {p}?", "What is the temperature in {p}?", "What is the current weather in {p}?",
                       "Check the weather in {p}.", "I want the weather for {p}."])  # fmt: skip
    text, required = text.format(p=place), [key]
    if rng.random() < 0.3:
        unit_key = rng.choice(["unit", "format", "units"])
        choices = rng.choice([["celsius", "fahrenheit"], ["fahrenheit", "celsius"]])
        properties[unit_key] = {
            "type": "string",
            "enum": choices,
            "description": "The unit of the temperature",
        }
        if rng.random() < 0.5:
            unit = rng.choice(choices)
            text = f"{text[:-1]} in {unit}{text[-1]}"
            arguments[unit_key] = unit
            if rng.random() < 0.5:
                required = [key, unit_key]
        elif rng.random() < 0.5:
            arguments[unit_key] = choices[0]
            required = [key, unit_key]
    degrees, sky = (
        rng.randrange(-9, 40),
        rng.choice(["sunny", "cloudy", "rainy", "windy", "foggy", "snowy", "clear", "stormy", "warm"]),
    )
    result, said = rng.choice([
        (json.dumps({"temperature": degrees, "condition": sky}), f"{degrees} degrees and {sky}"),
        (f"{degrees} degrees and {sky}", f"{degrees} degrees and {sky}"), (f"{sky}, {degrees} degrees", f"{sky}, {degrees} degrees"),
        (json.dumps({"temp": degrees}), f"{degrees} degrees"), (f"{degrees}°C", f"{degrees}°C"), (sky, sky), (str(degrees), f"{degrees} degrees"),
        (json.dumps({"condition": sky, "temperature": degrees}), f"{degrees} degrees and {sky}"),
    ])  # fmt: skip
    tool = _tool(name, about, properties, required, rng)
    must = tuple(part for part in (str(degrees), sky) if part in said)
    return ToolUse(
        text, tool, Call(name, arguments), result, f"The weather in {place} is {said}.", must, (place,)
    )


def _clock(rng: Random) -> ToolUse:
    place, key = _place(rng), rng.choice(_PLACE_KEYS)
    name = _name(["time", "time", "local_time", "clock", "current_time"], rng)
    about = rng.choice(
        [
            "Get the time",
            "Get the current time in a city",
            "Local time of a place",
            "Returns the time",
            "Time in a city",
        ]
    )
    text = rng.choice(["What time is it in {p}?", "What is the time in {p}?", "Tell me the time in {p}.", "Time in {p}?", "How late is it in {p}?",
                       "What's the current time in {p}?", "What is the local time in {p}?", "Do you know what time it is in {p}?"])  # fmt: skip
    now = f"{rng.randrange(24):02}:{rng.randrange(60):02}"
    result = rng.choice([now, json.dumps({"time": now}), json.dumps({key: place, "time": now})])
    tool = _tool(name, about, {key: {"type": "string", "description": rng.choice(_PLACE_HELP)}}, [key], rng)
    return ToolUse(
        text.format(p=place),
        tool,
        Call(name, {key: place}),
        result,
        f"It is {now} in {place}.",
        (now,),
        (place,),
    )


_PAIR_KEYS = [("a", "b"), ("a", "b"), ("x", "y"), ("first", "second"), ("left", "right"), ("num1", "num2"), ("n", "m"), ("lhs", "rhs"),
              ("number1", "number2"), ("value1", "value2")]  # fmt: skip
_OPERATIONS: list[tuple[list[str], list[str], list[str], Callable[[int, int], int]]] = [
    (["add", "add", "sum", "plus", "add_numbers", "add_two_numbers", "calculate_sum", "addition", "compute_sum"],
     ["Add two numbers", "Adds a and b", "Returns the sum of two numbers"],
     ["What is {a} + {b}?", "What is {a} plus {b}?", "Add {a} and {b}.", "{a} + {b}", "Calculate {a} + {b}.", "How much is {a} plus {b}?"],
     lambda a, b: a + b),
    (["subtract", "minus", "subtract_two_numbers", "difference", "sub", "subtract_numbers", "subtraction"],
     ["Subtract two numbers", "Returns the difference of two numbers"],
     ["What is {a} - {b}?", "What is {a} minus {b}?", "{a} - {b}", "Calculate {a} - {b}.", "How much is {a} minus {b}?"],
     lambda a, b: a - b),
    (["multiply", "times", "product", "mul", "multiply_numbers", "multiply_two_numbers"],
     ["Multiply two numbers", "Returns the product of two numbers"],
     ["What is {a} times {b}?", "What is {a} * {b}?", "Multiply {a} and {b}.", "{a} * {b}", "How much is {a} times {b}?"],
     lambda a, b: a * b),
]  # fmt: skip


def _arithmetic(rng: Random) -> ToolUse:
    names, abouts, texts, compute = _OPERATIONS[rng.choices([0, 1, 2], [0.6, 0.2, 0.2])[0]]
    name, (first, second) = _style(rng.choice(names).split("_"), rng), rng.choice(_PAIR_KEYS)
    top = rng.choice([10, 20, 100, 1000])
    a, b = rng.randrange(top), rng.randrange(top)
    kind = rng.choice(["integer", "integer", "number"])
    properties = {
        first: {"type": kind, "description": "The first number"},
        second: {"type": kind, "description": "The second number"},
    }
    value = compute(a, b)
    result = rng.choice([str(value), str(value), json.dumps({"result": value})])
    tool = _tool(name, rng.choice(abouts), properties, [first, second], rng)
    text = rng.choice(texts).format(a=a, b=b)
    return ToolUse(
        text, tool, Call(name, {first: a, second: b}), result, f"The result is {value}.", (str(value),), ()
    )


# Noun, description, argument names, argument kind, questions, result makers and the sentence.
_ONE_ARGUMENT: list[tuple[list[str], str, list[str], str, list[str], str]] = [
    (["population"], "Number of people in a place", ["city", "place", "country", "name"], "place",
     ["How many people live in {x}?", "What is the population of {x}?", "Population of {x}?"], "The population of {x} is {r}."),
    (["stock_price", "price", "share_price"], "Price of a share", ["symbol", "ticker", "company", "stock"], "word",
     ["What is the stock price of {x}?", "How much is a share of {x}?", "Price of {x}?"], "The price of {x} is {r}."),
    (["phone_number", "phone", "number"], "Phone number of a person", ["name", "person", "contact", "who"], "person",
     ["What is the phone number of {x}?", "Find the number of {x}.", "How can I call {x}?"], "The phone number of {x} is {r}."),
    (["age", "user_age", "person_age"], "Age of a person", ["name", "person", "user", "who"], "person",
     ["How old is {x}?", "What is the age of {x}?", "Tell me the age of {x}."], "The age of {x} is {r}."),
    (["distance", "height", "mountain_height"], "Height of a mountain", ["mountain", "name", "peak"], "word",
     ["How high is {x}?", "What is the height of {x}?", "Tell me the height of {x}."], "The height of {x} is {r}."),
]  # fmt: skip
_ACTIONS: list[tuple[list[str], str, list[str], str, list[str], str]] = [
    (["play_music", "play_song", "play", "start_music"], "Play music", ["artist", "song", "title", "query"], "word",
     ["Play {x}.", "Play music by {x}.", "I want to hear {x}.", "Put on {x}."], "I play {x} now."),
    (["set_timer", "start_timer", "timer", "create_timer"], "Set a timer", ["minutes", "duration", "time"], "count",
     ["Set a timer for {x} minutes.", "Start a timer of {x} minutes.", "Timer for {x} minutes."], "The timer runs for {x} minutes."),
    (["open_app", "launch_app", "start_app", "open_program"], "Open an app", ["app", "name", "app_name", "program"], "word",
     ["Open {x}.", "Start {x}.", "Launch {x}.", "Please open the app {x}."], "I opened {x}."),
    (["search", "web_search", "search_web", "find_page"], "Search the web", ["query", "q", "text", "term"], "word",
     ["Search for {x}.", "Look up {x} on the web.", "Search the web for {x}.", "Find pages about {x}."], "I searched for {x}."),
    (["send_message", "message", "notify", "call_person", "send_greeting"], "Send a greeting to a person", ["to", "recipient", "person", "name"],
     "person", ["Send a greeting to {x}.", "Say hello to {x} for me.", "Greet {x}."], "I sent a greeting to {x}."),
    (["roll_dice", "roll", "dice"], "Roll dice", ["sides", "count", "number"], "count",
     ["Roll a dice with {x} sides.", "Roll a {x} sided dice."], "I rolled a dice with {x} sides."),
]  # fmt: skip


def _value(kind: str, rng: Random) -> str | int:
    if kind == "count":
        return rng.randrange(1, 61)
    if kind == "place":
        return _place(rng)
    if kind == "person" and rng.random() < 0.5:
        return rng.choice(facts.PEOPLE)
    return invented_word(rng)


def _one_argument(rng: Random) -> ToolUse:
    nouns, about, keys, kind, texts, sentence = rng.choice(_ONE_ARGUMENT)
    name, key, value = _name(nouns, rng), rng.choice(keys), _value(kind, rng)
    number = str(rng.randrange(1, rng.choice([10, 100, 1000, 100000])))
    result = rng.choice([number, json.dumps({"result": int(number)}), json.dumps({"value": int(number)})])
    tool = _tool(name, about, {key: {"type": "string", "description": f"The {key}"}}, [key], rng)
    answer = sentence.format(x=value, r=number)
    return ToolUse(
        rng.choice(texts).format(x=value),
        tool,
        Call(name, {key: value}),
        result,
        answer,
        (number,),
        (str(value),),
    )


def _action(rng: Random) -> ToolUse:
    names, about, keys, kind, texts, sentence = rng.choice(_ACTIONS)
    name, key, value = _style(rng.choice(names).split("_"), rng), rng.choice(keys), _value(kind, rng)
    type_name = "integer" if kind == "count" else "string"
    tool = _tool(name, about, {key: {"type": type_name, "description": f"The {key}"}}, [key], rng)
    result = rng.choice(["ok", "done", json.dumps({"status": "ok"}), json.dumps({"ok": True})])
    answer = sentence.format(x=value)
    return ToolUse(
        rng.choice(texts).format(x=value),
        tool,
        Call(name, {key: value}),
        result,
        answer,
        (str(value),),
        (str(value),),
    )


_FAMILIES: list[tuple[float, Callable[[Random], ToolUse]]] = [
    (0.35, _weather), (0.2, _clock), (0.2, _arithmetic), (0.12, _one_argument), (0.13, _action),
]  # fmt: skip


def make_tool_use(rng: Random) -> tuple[ToolUse, list[dict[str, Any]]]:
    """Draw a tool use and the tools offered with it: 1 to 3 of different families, in any order."""
    weights = [weight for weight, _ in _FAMILIES]
    first = rng.choices(range(len(_FAMILIES)), weights)[0]
    use = _FAMILIES[first][1](rng)
    others = [maker for index, (_, maker) in enumerate(_FAMILIES) if index != first]
    extra = rng.choices([0, 1, 2], [0.5, 0.38, 0.12])[0]
    offered = [use.tool, *(maker(rng).tool for maker in rng.sample(others, extra))]
    if len({tool["function"]["name"] for tool in offered}) < len(offered):
        offered = [use.tool]
    rng.shuffle(offered)
    return use, offered
