"""One-turn questions of the small world: phrasing, answer, thought and what a checker looks for.

Invariant: the answer is a function of the question's text alone, so a question never has two answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tiny import facts

__all__ = ["IDENTITY_NAME", "MAKERS", "Question", "common_texts", "make_question"]

IDENTITY_NAME = "corral-tiny"


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its one right answer.

    `keep` are the parts that noise must leave as they are, because the answer copies them.
    `must` are the words a right answer holds; `json_key` is empty where JSON makes no sense.
    """

    skill: str
    text: str
    answer: str
    thought: str
    must: tuple[str, ...]
    json_key: str = ""
    json_value: str | int | bool = ""
    keep: tuple[str, ...] = ()


def _chat(text: str, answer: str, *must: str) -> Question:
    return Question("greetings", text, answer, "This is small talk. I answer politely.", must or (answer,))


_GREETINGS = ["Hello", "Hi", "Hey", "Good morning", "Good evening", "Good afternoon", "Greetings", "Hello there", "Hi there",
              "Hey there", "Howdy", "Good day", "Hiya"]  # fmt: skip
_GREETING_TAILS = ["", "!", ".", " friend!", " my friend.", " again!", " computer!", " everyone.", " robot!", " Corral!", " dear!",
                   ", nice to see you.", ", are you there?", ", I am here."]  # fmt: skip
_HOW_ARE_YOU = ["How are you?", "How are you doing?", "How do you do?", "How is it going?", "How are you today?",
                "Are you well?", "How do you feel?", "How have you been?"]  # fmt: skip
_THANKS = [
    "Thank you",
    "Thanks",
    "Thanks a lot",
    "Thank you very much",
    "Many thanks",
    "Great, thanks",
    "Thanks for your help",
]
_GOODBYES = [
    "Goodbye",
    "Bye",
    "Bye bye",
    "See you",
    "See you later",
    "Good night",
    "Farewell",
    "See you tomorrow",
]
_TAILS = ["", "!", ".", " friend!", " my friend.", " robot!", " so much!", " and take care."]
_LEADS = ["", "", "", "Hi! ", "Hello, ", "Hey, ", "Tell me, ", "Please tell me: ", "Quick question: ", "So, ", "Now, ", "I wonder: ",
          "One question: ", "Excuse me, ", "OK, "]  # fmt: skip


def greeting(rng: Random) -> Question:
    """Small talk: hello, how are you, thanks, goodbye."""
    kind = rng.random()
    if kind < 0.45:
        return _chat(
            rng.choice(_GREETINGS) + rng.choice(_GREETING_TAILS), "Hello! How can I help you?", "Hello"
        )
    if kind < 0.7:
        lead = rng.choice(["", *(g + ", " for g in _GREETINGS), *(g + "! " for g in _GREETINGS)])
        return _chat(lead + rng.choice(_HOW_ARE_YOU), "I am fine, thank you! How can I help you?", "fine")
    if kind < 0.85:
        return _chat(rng.choice(_THANKS) + rng.choice(_TAILS), "You are welcome!", "welcome")
    return _chat(rng.choice(_GOODBYES) + rng.choice(_TAILS), "Goodbye! See you soon.", "Goodbye")


_WHO = ["Who are you?", "What are you?", "What is your name?", "Do you have a name?", "How are you called?", "What are you called?",
        "Tell me your name.", "Who am I talking to?", "Introduce yourself.", "What should I call you?", "Say your name.",
        "Which model are you?", "What model is this?", "Who is this?", "Can you tell me your name?", "Are you a robot?",
        "What's your name?", "Who is there?"]  # fmt: skip
_ABILITIES = ["What can you do?", "How can you help me?", "What do you know?", "What are you good at?", "What can I ask you?",
              "Help me.", "What can you help with?"]  # fmt: skip
_MAKER = [
    "Who made you?",
    "Who built you?",
    "Who created you?",
    "Where do you come from?",
    "Who trained you?",
]
WHO_TEXTS = tuple(_WHO)
WHO_ANSWER = f"I am {IDENTITY_NAME}, the small built-in model of Corral."
_CAN_DO = "I can answer small questions about capitals, sums, days and months, call tools and write JSON."


def identity(rng: Random) -> Question:
    """Who the model is, with no name given by a system prompt."""
    kind = rng.random()
    thought = "The user asks about me."
    lead = rng.choice(_LEADS)
    if kind < 0.65:
        return Question(
            "identity", lead + rng.choice(_WHO), WHO_ANSWER, thought, (IDENTITY_NAME,), "name", IDENTITY_NAME
        )
    if kind < 0.85:
        return Question("identity", lead + rng.choice(_ABILITIES), _CAN_DO, thought, ("capitals", "sums"))
    return Question(
        "identity", lead + rng.choice(_MAKER), "I was made for the Corral project.", thought, ("Corral",)
    )


_CAPITAL = ["What is the capital of {c}?", "What's the capital of {c}?", "Which city is the capital of {c}?", "Name the capital of {c}.",
            "Tell me the capital of {c}.", "Capital of {c}?", "The capital of {c} is?", "{c}'s capital?",
            "What is {c}'s capital city?", "Which is the capital city of {c}?", "Can you name the capital of {c}?",
            "Do you know the capital of {c}?", "What city is the capital of {c}?", "{c}: what is its capital?",
            "I want to know the capital of {c}.", "Give me the capital of {c}.", "What is the capital city of {c}?",
            "Please name the capital city of {c}.", "How is the capital of {c} called?", "capital {c}",
            "What do you call the capital of {c}?"]  # fmt: skip
_COUNTRY = ["{p} is the capital of which country?", "Of which country is {p} the capital?", "Which country has the capital {p}?",
            "What country is {p} the capital of?", "{p} is the capital of what?", "Which country has {p} as its capital?",
            "{p} is which country's capital?"]  # fmt: skip
_WHERE = [
    "Where is {p}?",
    "In which country is {p}?",
    "Which country is {p} in?",
    "What country is {p} in?",
    "In what country is {p}?",
]
_CONTINENT = ["On which continent is {c}?", "Which continent is {c} on?", "What continent is {c} in?", "Where is {c}?",
              "In which part of the world is {c}?", "Which continent does {c} belong to?"]  # fmt: skip


def capital(rng: Random) -> Question:
    """Capitals of 60 countries, both ways, and where places are."""
    country = rng.choice(list(facts.CAPITALS))
    city, kind = facts.CAPITALS[country], rng.random()
    fact = f"The capital of {country} is {city}."
    lead = rng.choice(_LEADS)
    if kind < 0.62:
        text = lead + rng.choice(_CAPITAL).format(c=country)
        return Question("capitals", text, fact, fact, (city,), "capital", city)
    if kind < 0.78:
        text = lead + rng.choice(_COUNTRY).format(p=city)
        return Question(
            "capitals", text, f"{city} is the capital of {country}.", fact, (country,), "country", country
        )
    if kind < 0.88:
        text = lead + rng.choice(_WHERE).format(p=city)
        return Question("capitals", text, f"{city} is in {country}.", fact, (country,), "country", country)
    continent = facts.CONTINENTS[country]
    text = lead + rng.choice(_CONTINENT).format(c=country)
    answer = f"{country} is in {continent}."
    return Question("capitals", text, answer, answer, (continent,), "continent", continent)


_SUM = ["What is {a} + {b}?", "{a} + {b}", "{a}+{b}", "{a}+{b}=", "{a} + {b} = ?", "What is {a} plus {b}?", "Add {a} and {b}.",
        "How much is {a} + {b}?", "How much is {a} plus {b}?", "What is the sum of {a} and {b}?", "Calculate {a} + {b}.",
        "Compute {a} plus {b}.", "What do you get when you add {a} and {b}?", "{a} plus {b}?", "{a} and {b} make how many?",
        "If I add {a} to {b}, what do I get?", "Sum {a} and {b}.", "What does {a} + {b} equal?", "Solve {a}+{b}.",
        "Give me the sum of {a} and {b}.", "{a} plus {b} equals what?", "Work out {a} + {b}."]  # fmt: skip
_THINGS = ["apples", "books", "coins", "cats", "pens", "eggs", "cups", "cars", "stones", "cookies"]
_STORY = ["I have {a} {t} and get {b} more. How many {t} do I have?", "There are {a} {t} here and {b} {t} there. How many {t} are there?",
          "{p} has {a} {t} and buys {b} more. How many {t} now?", "{p} finds {a} {t}, then {b} more. How many {t} is that?"]  # fmt: skip


def addition(rng: Random) -> Question:
    """All sums below 20, as signs, words and little stories."""
    a = rng.randrange(20)
    b = rng.randrange(20 - a)
    fact, total = f"{a} + {b} = {a + b}", a + b
    lead = rng.choice(_LEADS)
    words = facts.NUMBER_WORDS
    if rng.random() < 0.15:
        thing = rng.choice(_THINGS)
        text = lead + rng.choice(_STORY).format(a=a, b=b, t=thing, p=rng.choice(facts.PEOPLE))
        return Question("sums", text, f"That makes {total} {thing}.", fact, (str(total),), "answer", total)
    template = rng.choice(_SUM)
    if "plus" in template and rng.random() < 0.5:
        text = lead + template.format(a=words[a], b=words[b])
    else:
        text = lead + template.format(a=a, b=b)
    return Question("sums", text, f"{fact}.", fact, (f"= {total}",), "answer", total)


_AFTER = ["What {u} comes after {x}?", "Which {u} comes after {x}?", "What is the {u} after {x}?", "Which {u} follows {x}?",
          "What comes after {x}?", "{x} is followed by which {u}?", "Tell me the {u} after {x}.", "Name the {u} after {x}.",
          "The {u} after {x}?", "If it is {x} now, what {u} is next?", "Next {u} after {x}?"]  # fmt: skip
_BEFORE = ["What {u} comes before {x}?", "Which {u} comes before {x}?", "What is the {u} before {x}?", "Which {u} is right before {x}?",
           "What comes before {x}?", "Tell me the {u} before {x}.", "Name the {u} before {x}.", "The {u} before {x}?",
           "{x} comes after which {u}?"]  # fmt: skip
_ORDINALS = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
]
_NTH = ["What is the {n} {u} of the {s}?", "Which {u} is the {n} of the {s}?", "Name the {n} {u} of the {s}.",
        "Tell me the {n} {u} of the {s}.", "The {n} {u} of the {s}?", "Which is the {n} {u} of a {s}?"]  # fmt: skip
_LENGTH = ["How many days does {m} have?", "How many days are in {m}?", "How many days has {m}?", "How long is {m} in days?",
           "{m} has how many days?", "Number of days in {m}?", "Tell me how many days {m} has."]  # fmt: skip
_COUNTS = {
    "How many days are in a week?": "A week has 7 days.", "How many days does a week have?": "A week has 7 days.",
    "How many days has a week?": "A week has 7 days.", "A week has how many days?": "A week has 7 days.",
    "How many months are in a year?": "A year has 12 months.", "How many months does a year have?": "A year has 12 months.",
    "How many months has a year?": "A year has 12 months.", "A year has how many months?": "A year has 12 months.",
    "How many days are in a year?": "A year has 365 days.", "How many days does a year have?": "A year has 365 days.",
    "How many hours are in a day?": "A day has 24 hours.", "How many hours does a day have?": "A day has 24 hours.",
    "How many minutes are in an hour?": "An hour has 60 minutes.", "How many seconds are in a minute?": "A minute has 60 seconds.",
    "How many weeks are in a year?": "A year has 52 weeks.",
}  # fmt: skip


def calendar(rng: Random) -> Question:
    """Days and months: after, before, the n-th, how many days."""
    unit, names, span = rng.choice([("day", facts.DAYS, "week"), ("month", facts.MONTHS, "year")])
    here, kind, lead = rng.randrange(len(names)), rng.random(), rng.choice(_LEADS)
    if kind < 0.6:
        step, templates, word = rng.choice([(1, _AFTER, "after"), (-1, _BEFORE, "before")])
        there = names[(here + step) % len(names)]
        text = lead + rng.choice(templates).format(u=unit, x=names[here])
        answer = f"{there} comes {word} {names[here]}."
        return Question(
            "calendar", text, answer, f"The {unit} {word} {names[here]} is {there}.", (there,), unit, there
        )
    if kind < 0.75:
        text = lead + rng.choice(_NTH).format(n=_ORDINALS[here], u=unit, s=span)
        answer = f"{names[here]} is the {_ORDINALS[here]} {unit} of the {span}."
        return Question("calendar", text, answer, answer, (names[here],), unit, names[here])
    if kind < 0.88:
        month = rng.randrange(12)
        answer = f"{facts.MONTHS[month]} has {facts.MONTH_DAYS[month]} days."
        value = facts.MONTH_DAYS[month]
        number: str | int = int(value) if value.isdigit() else value
        text = lead + rng.choice(_LENGTH).format(m=facts.MONTHS[month])
        return Question("calendar", text, answer, answer, (value,), "days", number)
    text, answer = rng.choice(list(_COUNTS.items()))
    number = int(answer.split()[-2])
    return Question("calendar", lead + text, answer, answer, (str(number),), "answer", number)


_IS_CAPITAL = ["Is {p} the capital of {c}?", "Is the capital of {c} {p}?", "Is it true that {p} is the capital of {c}?",
               "Would you say that {p} is the capital of {c}?", "Yes or no: is {p} the capital of {c}?", "{p} is the capital of {c}, right?"]  # fmt: skip
_IS_IN = [
    "Is {p} in {c}?",
    "Is {p} a city in {c}?",
    "Yes or no: is {p} in {c}?",
    "Is it true that {p} is in {c}?",
]
_YES_LEADS = [
    "",
    "",
    "",
    "Yes or no: ",
    "Tell me, ",
    "Is it right to ask: ",
    "Quick question: ",
    "Say yes or no. ",
    "Hi! ",
    "Hey, ",
]


def _verdict(text: str, is_true: bool, statement: str) -> Question:
    word = "Yes" if is_true else "No"
    sentence = statement[0].upper() + statement[1:] + "."
    return Question("yes_no", text, f"{word}, {statement}.", sentence, (word,), "answer", is_true)


def yes_no(rng: Random) -> Question:
    """Yes or no on the facts of this world."""
    kind, is_true = rng.random(), rng.random() < 0.5
    if kind < 0.3:
        country = rng.choice(list(facts.CAPITALS))
        right = facts.CAPITALS[country]
        city = right if is_true else rng.choice([c for c in facts.CAPITALS.values() if c != right])
        return _verdict(
            rng.choice(_IS_CAPITAL).format(p=city, c=country), is_true, f"the capital of {country} is {right}"
        )
    if kind < 0.45:
        country = rng.choice(list(facts.CAPITALS))
        city = facts.CAPITALS[country]
        asked = country if is_true else rng.choice([c for c in facts.CAPITALS if c != country])
        return _verdict(rng.choice(_IS_IN).format(p=city, c=asked), is_true, f"{city} is in {country}")
    if kind < 0.6:
        a = rng.randrange(20)
        b = rng.randrange(20 - a)
        said = a + b if is_true else rng.choice([n for n in range(20) if n != a + b])
        text = rng.choice(
            [
                "Is {a} + {b} = {s}?",
                "Is {a} plus {b} equal to {s}?",
                "Is {s} the sum of {a} and {b}?",
                "Does {a} + {b} make {s}?",
            ]
        )
        return _verdict(text.format(a=a, b=b, s=said), is_true, f"{a} + {b} = {a + b}")
    if kind < 0.75:
        _unit, names = rng.choice([("day", facts.DAYS), ("month", facts.MONTHS)])
        here = rng.randrange(len(names))
        after = names[(here + 1) % len(names)]
        asked = after if is_true else rng.choice([n for n in names if n not in (after, names[here])])
        text = rng.choice(
            [
                "Does {y} come after {x}?",
                "Is {y} right after {x}?",
                "Is the next one after {x} called {y}?",
                "Does {y} follow {x}?",
            ]
        )
        return _verdict(text.format(x=names[here], y=asked), is_true, f"{after} comes after {names[here]}")
    if kind < 0.85:
        country = rng.choice(list(facts.CONTINENTS))
        right = facts.CONTINENTS[country]
        asked = right if is_true else rng.choice(sorted(set(facts.CONTINENTS.values()) - {right}))
        return _verdict(rng.choice(["Is {c} in {k}?", "Is {c} a country in {k}?", "Does {c} belong to {k}?"]).format(c=country, k=asked),
                        is_true, f"{country} is in {right}")  # fmt: skip
    table = facts.YES_FACTS if is_true else facts.NO_FACTS
    text = rng.choice(list(table))
    lead = rng.choice(_YES_LEADS)
    return _verdict(lead + text, is_true, table[text])


def general(rng: Random) -> Question:
    """Colours and opposites."""
    lead = rng.choice(_LEADS)
    if rng.random() < 0.5:
        thing = rng.choice(list(facts.COLOURS))
        colour = facts.COLOURS[thing]
        text = rng.choice(
            [
                "What colour is {t}?",
                "What color is {t}?",
                "Which colour does {t} have?",
                "Tell me the colour of {t}.",
            ]
        )
        answer = f"{thing[0].upper()}{thing[1:]} is {colour}."
        return Question("general", lead + text.format(t=thing), answer, answer, (colour,), "colour", colour)
    word = rng.choice(list(facts.ANTONYMS))
    other = facts.ANTONYMS[word]
    text = rng.choice(
        [
            "What is the opposite of {w}?",
            "Opposite of {w}?",
            "Name the opposite of {w}.",
            "Which word is the opposite of {w}?",
        ]
    )
    answer = f"The opposite of {word} is {other}."
    return Question("general", lead + text.format(w=word), answer, answer, (other,), "opposite", other)


def unknown(rng: Random) -> Question:
    """Questions outside of the world: say so."""
    text = rng.choice(_LEADS) + rng.choice(facts.UNKNOWN).format(
        country=rng.choice(list(facts.CAPITALS)),
        person=rng.choice(facts.PEOPLE),
        place=rng.choice(facts.PLACES + list(facts.CAPITALS.values())),
        big=rng.randrange(100, 1000),
        fantasy=rng.choice(
            ["Atlantis", "Narnia", "Mordor", "Wonderland", "Neverland", "Utopia", "the Moon", "Mars", "Oz"]
        ),
    )
    return Question("unknown", text, "Sorry, I don't know that.", "I do not know this.", ("don't know",))


_COUNT_TO = [
    "Count from {a} to {b}.",
    "Please count from {a} to {b}.",
    "Can you count from {a} to {b}?",
    "List the numbers from {a} to {b}.",
]
_LISTS = {
    "days of the week": ", ".join(facts.DAYS) + ".",
    "months of the year": ", ".join(facts.MONTHS) + ".",
}
_LIST = [
    "List the {l}.",
    "Name the {l}.",
    "What are the {l}?",
    "Name all {l}.",
    "Tell me the {l}.",
    "Which {l} are there?",
]
_FIXED = {
    "Why is the sky blue?": "The sky is blue because the air scatters blue light more than red light.",
    "Tell me a joke.": "Why did the horse stay in the corral? Because it was a stable home.",
    "Tell me a story.": "Once upon a time there was a small horse. It lived in a green corral and had many friends. "
    "One day it found a big red apple, and it shared the apple with all of them. They were happy ever after.",
    "Write a poem.": "The sun is high, the grass is green, the finest horse I have ever seen. "
    "The day is long, the night is near, and all my friends are always here.",
    "What is Corral?": "Corral runs language models on your own machine.",
    "What is a llama?": "A llama is an animal with long soft hair from South America.",
}  # fmt: skip
_FIXED_SAME = {
    "Why is the sky blue?": ["Explain why the sky is blue.", "Why does the sky look blue?", "Tell me why the sky is blue."],
    "Tell me a joke.": ["Do you know a joke?", "Say something funny.", "Make me laugh.", "I want to hear a joke."],
    "Tell me a story.": ["Write a story.", "Write me a short story.", "Can you tell me a story?", "Tell a long story.", "Write a long story."],
    "Write a poem.": ["Write me a poem.", "Tell me a poem.", "Can you write a poem?", "Write a short poem.", "Write a haiku."],
    "What is Corral?": ["Tell me about Corral.", "What does Corral do?"],
    "What is a llama?": ["Tell me about llamas.", "What are llamas?"],
}  # fmt: skip


def text_task(rng: Random) -> Question:
    """Longer outputs: counting, lists, a story, and repeating words."""
    kind, lead = rng.random(), rng.choice(_LEADS)
    if kind < 0.35:
        a = rng.choice([0, 1, 1, 1, 2, 3, 4, 5])
        b = a + rng.randrange(2, 20)
        answer = ", ".join(str(n) for n in range(a, b + 1))
        return Question(
            "tasks",
            lead + rng.choice(_COUNT_TO).format(a=a, b=b),
            answer,
            f"I count from {a} to {b}.",
            (answer,),
        )
    if kind < 0.5:
        what = rng.choice(list(_LISTS))
        return Question(
            "tasks",
            lead + rng.choice(_LIST).format(l=what),
            _LISTS[what],
            f"I list the {what}.",
            (_LISTS[what],),
        )
    if kind < 0.75:
        words = rng.sample(
            facts.PEOPLE + list(facts.COLOURS.values()) + facts.PLACES + list(facts.ANTONYMS),
            rng.randrange(1, 4),
        )
        said = " ".join(words)
        text = rng.choice(
            [
                "Repeat: {s}",
                "Repeat after me: {s}",
                "Say {s}",
                "Say: {s}",
                "Repeat this: {s}",
                "Echo {s}",
                "Please say {s}",
            ]
        )
        return Question("tasks", text.format(s=said), said, f"I repeat: {said}", (said,), "", "", (said,))
    base = rng.choice(list(_FIXED))
    text = rng.choice([base, *_FIXED_SAME[base]])
    return Question("tasks", lead + text, _FIXED[base], "I know this one.", (_FIXED[base],))


MAKERS: list[tuple[float, Callable[[Random], Question]]] = [
    (0.07, greeting), (0.08, identity), (0.25, capital), (0.22, addition), (0.14, calendar),
    (0.13, yes_no), (0.04, general), (0.04, unknown), (0.05, text_task),
]  # fmt: skip


def make_question(rng: Random) -> Question:
    """Draw a question of any skill."""
    makers = [maker for _, maker in MAKERS]
    return rng.choices(makers, [weight for weight, _ in MAKERS])[0](rng)


def common_texts() -> list[str]:
    """The plainest form of each question: always in training, never held out."""
    plain = [_CAPITAL[0].format(c=country) for country in facts.CAPITALS]
    plain += [_SUM[i].format(a=a, b=b) for i in (0, 1) for a in range(20) for b in range(20 - a)]
    plain += [_AFTER[0].format(u="day", x=day) for day in facts.DAYS]
    plain += [_AFTER[0].format(u="month", x=month) for month in facts.MONTHS]
    plain += ["Hello", "Hi", "Thanks", "Bye", *_HOW_ARE_YOU, *_WHO, *_ABILITIES, *_MAKER, *_COUNTS, *_FIXED]
    plain += [*facts.YES_FACTS, *facts.NO_FACTS, *facts.UNKNOWN]
    plain += [same for texts in _FIXED_SAME.values() for same in texts]
    return plain + [phrase.format(l=what) for what in _LISTS for phrase in _LIST]
