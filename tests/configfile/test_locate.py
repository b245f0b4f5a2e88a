"""Keys are found on the lines where they stand, whatever TOML puts around them."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from corral.configfile.locate import lines_of_keys
from corral.configfile.problems import shown_key
from corral.configfile.writing import toml_header, toml_value

TEXT = '''# a comment = [not.a.key]
top = 1
[ server ] # [fake]
host = "a # b = c"
"quoted \\u0041" = \'\'\'
[not.a.table]
x = 1
\'\'\'
dotted . key = [
  1, # two
  "]",
  { deep = 3 },
]
[models."qwen*"]
set = { temperature = 0.2, "stop" = ["\\"}", """
"""] }
when = 1979-05-27T07:32:00Z
[[list]]
name = \'a\'
'''


def test_every_form_of_key() -> None:
    assert tomllib.loads(TEXT)
    assert lines_of_keys(TEXT) == {
        ("top",): 2,
        ("server",): 3,
        ("server", "host"): 4,
        ("server", "quoted A"): 5,
        ("server", "dotted"): 9,
        ("server", "dotted", "key"): 9,
        ("server", "dotted", "key", "deep"): 12,
        ("models",): 14,
        ("models", "qwen*"): 14,
        ("models", "qwen*", "set"): 15,
        ("models", "qwen*", "set", "temperature"): 15,
        ("models", "qwen*", "set", "stop"): 15,
        ("models", "qwen*", "when"): 17,
        ("list",): 18,
        ("list", "name"): 19,
    }


# Lone surrogates cannot be written, and TOML turns \r\n in strings over several lines into \n.
WORDS = st.text(st.characters(codec="utf-8"), max_size=6)
VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(WORDS, st.dictionaries(WORDS, VALUES, max_size=3), max_size=4))
def test_what_is_written_is_read_and_found(tables: dict[str, dict[str, object]]) -> None:
    """A key per line: the line of each is known, and the values come back."""
    lines: list[str] = []
    places: dict[tuple[str, ...], int] = {}
    for name, table in tables.items():
        lines.append(toml_header(name))
        places[(name,)] = len(lines)
        for key, value in table.items():
            lines.append(f"{shown_key(key)} = {toml_value(value)}")
            places[name, key] = len(lines)
    text = "\n".join(lines) + "\n"
    assert tomllib.loads(text) == tables
    found = lines_of_keys(text)
    assert {keys: line for keys, line in found.items() if len(keys) < 3} == places


@given(st.text(max_size=200))
def test_any_text_ends(text: str) -> None:
    """It is only asked about valid texts, but does not hang on others either."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines_of_keys(text.replace("\r\n", "\n"))
