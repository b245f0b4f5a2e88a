"""Parsing: texts of errors, white space, constants, bounds. Expected values are what Go answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.chat.gotemplate import Template
from corral.chat.gotemplate.parser import MAX_NESTING
from corral.errors import TemplateError

ERRORS = [
    ("{{ .X", "1: unclosed action"),
    ("{{ }}", "1: missing value for command"),
    ("{{ end }}", "1: unexpected {{end}}"),
    ("{{ if .A }}", "1: unexpected EOF"),
    ("{{ range .A }}x", "1: unexpected EOF"),
    ("{{ else }}", "1: unexpected {{else}}"),
    ("{{ if .A }}{{ else }}{{ else }}{{ end }}", "1: expected end; found {{else}}"),
    ("{{ if }}x{{ end }}", "1: missing value for if"),
    ("{{ nofunc .A }}", '1: function "nofunc" not defined'),
    ("{{ $x }}", '1: undefined variable "$x"'),
    ("{{ $x := 1 }}{{ $y }}", '1: undefined variable "$y"'),
    ("{{ | .A }}", '1: unexpected "|" in command'),
    ('{{ "unterminated }}', "1: unterminated quoted string"),
    ("{{ `raw }}", "1: unterminated raw quoted string"),
    ("{{ 'ab' }}", "1: malformed character constant: 'ab'"),
    ("{{ 1.2.3 }}", '1: unexpected ".3" in operand'),
    ("{{ 12abc }}", '1: bad number syntax: "12a"'),
    ("{{ (.A }}", "1: unclosed left paren"),
    ("{{ .A) }}", "1: unexpected right paren"),
    ("{{ break }}", "1: {{break}} outside {{range}}"),
    ('{{ define "a" }}', "1: unexpected EOF"),
    ("{{ define a }}{{ end }}", '1: unexpected "a" in define clause'),
    ("{{ template }}", '1: unexpected "}}" in template clause'),
    ("{{/* open", "1: unclosed comment"),
    ("{{ /* c */ }}", '1: unexpected "/" in command'),
    ("{{/* c */x }}", "1: comment ends before closing delimiter"),
    ("{{{ .A }}}", '1: unexpected "{" in command'),
    ("\n\n{{ if .A }}\n{{ bad }}", '4: function "bad" not defined'),
    ("{{ .A := 1 }}", '1: unexpected ":=" in operand'),
    ("{{ $a, $b := .X }}", "1: too many declarations in command"),
    ("{{ @ }}", '1: unexpected "@" in command'),
    ("{{ .A-B }}", "1: bad character U+002D '-'"),
    ('{{ "\\q" }}', "1: invalid syntax"),
    ("{{ print ( }}", "1: unclosed left paren"),
    ('{{ "x".y }}', '1: unexpected . after term "\\"x\\""'),
    ("{{-.A}}", '1: bad number syntax: "-.A"'),
    ('{{ printf "%d" | 3 }}', "1: non executable command in pipeline stage 2"),
    ("{{ m['content'] }}", "1: bad character U+005B '['"),
    ("{{ 1e400 }}", '1: illegal number syntax: "1e400"'),
    ('{{ "x\n" }}', "1: unterminated quoted string"),
    ("{{ .A\n\n", "3: unclosed action started at :1"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_errors_have_gos_words_and_line(text: str, message: str) -> None:
    """A text that does not parse is refused with the message and line that Go gives."""
    with pytest.raises(TemplateError) as caught:
        Template.parse(text)
    assert str(caught.value) == f"template: :{message}"


def test_template_call_without_argument_is_refused() -> None:
    """Ollama loads no template that calls another without a pipeline."""
    with pytest.raises(TemplateError, match=r"^undefined template specified$"):
        Template.parse('{{ define "m" }}x{{ end }}{{ template "m" }}')


def test_same_name_twice_is_refused() -> None:
    """Two templates of one name are an error unless one is blank."""
    Template.parse('{{ define "m" }} {{ end }}{{ define "m" }}x{{ end }}')
    with pytest.raises(TemplateError, match='multiple definition of template "m"'):
        Template.parse('{{ define "m" }}y{{ end }}{{ define "m" }}x{{ end }}')


@pytest.mark.parametrize(
    "opening",
    [
        "{{ if .A }}",
        "{{ range .A }}",
        "{{ with .A }}x{{ else with .B }}",
        "{{ (",
        '{{ block "x" . }}',
        "{{ if 1 }}{{ else if 2 }}",
    ],
)
def test_deep_nesting_is_refused(opening: str) -> None:
    """Nesting without end is a template error, not a crash."""
    with pytest.raises(TemplateError):
        Template.parse(opening * 100_000)


def test_nesting_up_to_the_bound_runs() -> None:
    """What parses also runs: the deepest allowed nesting stays within Python's stack."""
    depth = MAX_NESTING - 1
    template = Template.parse("{{ range .L }}" * depth + "x{{ .Response }}" + "{{ end }}" * depth)
    assert template.execute({"L": [], "Response": ""}) == ""
    nested = Template.parse("{{ if 1 }}" * depth + "x" + "{{ end }}" * depth + "{{ .Response }}")
    assert nested.execute({"Response": "!"}) == "x!"


def test_parsed_templates_are_shared() -> None:
    """A text is parsed once."""
    assert Template.parse("a{{ .Response }}") is Template.parse("a{{ .Response }}")


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"])).filter(
        lambda text: "{{" not in text and text[-1:] != "{"
    )
)
def test_text_without_actions_is_copied(text: str) -> None:
    """Whatever is outside of actions comes out as it is."""
    assert Template.parse(text + "{{ .Response }}").execute({"Response": ""}) == text


@given(
    st.lists(
        st.sampled_from(
            [
                "{{",
                "}}",
                "-",
                " ",
                "\n",
                ".A",
                "$x",
                ":=",
                "if",
                "end",
                "(",
                ")",
                "|",
                '"',
                "`",
                "range",
                "/*",
                "*/",
                "else",
                "1",
                "é",
            ]
        ),
        max_size=30,
    )
)
def test_any_text_parses_or_is_refused(pieces: list[str]) -> None:
    """No text makes the parser fail in another way than with a template error."""
    try:
        Template.parse("".join(pieces))
    except TemplateError as error:
        assert str(error).startswith(("template: :", "undefined template"))
