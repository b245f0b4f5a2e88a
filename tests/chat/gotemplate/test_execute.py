"""Running templates: values, scope, functions, errors with their place. Expected values are what Go prints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.chat.gotemplate import Template
from corral.errors import TemplateError

DATA: dict[str, object] = {
    "S": "text",
    "E": "",
    "I": 3,
    "F": 1e6,
    "L": ["a", 1.5, None, True],
    "M": {"b": 2.0, "a": "x", "n": None},
    "N": None,
    "B": b"AB",
    "U": "héllo",
    "Response": "",
}
VALUES = [
    (
        "{{ .S }} {{ .I }} {{ .F }} {{ .L }} {{ .M }} {{ .N }} {{ .B }}",
        "text 3 1e+06 [a 1.5 <nil> true] map[a:x b:2 n:<nil>] <no value> [65 66]",
    ),
    ('{{ .M.a }} {{ .M.zzz }} {{ index .M "b" }} {{ index .L 1 }}', "x <no value> 2 1.5"),
    ("{{ range $k, $v := .M }}{{ $k }}={{ $v }};{{ end }}", "a=x;b=2;n=<no value>;"),
    ("{{ range $i, $e := .L }}{{ $i }}{{ end }}{{ range .E2 }}x{{ else }}none{{ end }}", "0123none"),
    ("{{ range 3 }}{{ . }}{{ else }}x{{ end }}{{ range 0 }}y{{ else }}zero{{ end }}", "012zero"),
    ("{{ range $i, $e := .L }}{{ if eq $i 0 }}{{ continue }}{{ end }}{{ . }}{{ break }}{{ end }}", "1.5"),
    ("{{ range .B }}{{ . }},{{ end }}", "65,66,"),
    ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $x := 9 }}{{ end }}{{ $x }}", "2"),
    ("{{ $x := 1 }}{{ if .E }}{{ $x := 2 }}{{ else }}{{ $x }}{{ end }}", "1"),
    ("{{ with $y := .S }}{{ $y }}{{ . }}{{ else }}no{{ end }}", "texttext"),
    ("{{ with .E }}a{{ else with .S }}{{ . }}{{ end }}", "text"),
    (
        '{{ define "t" }}[{{ $ }}{{ . }}]{{ end }}{{ range .M }}{{ template "t" . }}{{ end }}',
        "[xx][22][<no value><no value>]",
    ),
    ('{{ block "b" .M }}{{ .a }}{{ end }}', "x"),
    ("{{ len .U }} {{ index .U 1 }} {{ slice .U 0 3 }} {{ slice .U 1 2 }}{{ slice .U 2 3 }}", "6 195 hé é"),
    ("{{ slice .U 1 2 }}|", "\ufffd|"),
    ("{{ and .E .S }}|{{ and .S .I }}|{{ or .E .N .S }}|{{ not .E }}|{{ .S | and .I }}", "|3|text|true|text"),
    (
        '{{ eq .I 1 2 3 }} {{ ne .S "a" }} {{ lt 1 2 }} {{ ge .F 2.0 }} {{ eq .N nil }} {{ eq .L nil }}',
        "true true true true true false",
    ),
    ('{{ print 1 2 "a" "b" 3 nil true }}|{{ println 1 "a" }}', "1 2ab3 <nil> true|1 a\n"),
    (
        '{{ json .M }} {{ json .L }} {{ json .B }} {{ json nil }} {{ json "<" }}',
        '{"a":"x","b":2,"n":null} ["a",1.5,null,true] "QUI=" null "\\u003c"',
    ),
    (
        '{{ html "<a b=\'c\'>" }} {{ js "a\'b<" }} {{ urlquery "a b/ü" }} {{ html .N }}',
        "&lt;a b=&#39;c&#39;&gt; a\\'b\\u003C a+b%2F%C3%BC &lt;no value&gt;",
    ),
    ('{{ .S | printf "%s-%d" "a" | len }}', "18"),
    (
        "{{ 0x1F }} {{ 0b11 }} {{ 0o17 }} {{ 017 }} {{ 'a' }} {{ '\\n' }} {{ 1i }} {{ 1+2i }} {{ .5 }} {{ 0x1p4 }}",
        "31 3 15 15 97 10 (0+1i) (1+2i) 0.5 16",
    ),
    ('{{ "\\x41\\101\\u00e9\\U0001F600\\xc3\\xa9" }}{{ `a\\n` }}', "AAé😀éa\\n"),
    ("{{ toTypeScriptType .S }}", "any"),
    ("{{ (.M).a }} {{ (index .L 0) }} {{ (len .L) }}", "x a 4"),
    ("a {{- 1 -}} b {{/* c */}} {{- /* d */ -}} e", "a1b e"),
]


@pytest.mark.parametrize(("text", "expected"), VALUES)
def test_values(text: str, expected: str) -> None:
    """Values, scope and functions come out as Go has them."""
    assert Template.parse(text + "{{ .Response }}").execute(DATA) == expected


ERRORS = [
    ("{{ .S.x }}", '1:5: executing "" at <.S.x>: can\'t evaluate field x in type interface {}'),
    ("{{ .N.x }}", '1:5: executing "" at <.N.x>: nil pointer evaluating interface {}.x'),
    ("é\n é{{ .Q.x }}", '2:8: executing "" at <.Q.x>: nil pointer evaluating interface {}.x'),
    (
        "{{ range .L }}{{ .x }}{{ end }}",
        '1:17: executing "" at <.x>: can\'t evaluate field x in type interface {}',
    ),
    ("{{ index .L 9 }}", '1:3: executing "" at <index .L 9>: error calling index: index out of range: 9'),
    (
        "{{ index .L 4 }}",
        '1:3: executing "" at <index .L 4>: error calling index: reflect: slice index out of range',
    ),
    (
        '{{ index .L "a" }}',
        '1:3: executing "" at <index .L "a">: error calling index: cannot index slice/array with type string',
    ),
    (
        "{{ slice .S 3 1 }}",
        '1:3: executing "" at <slice .S 3 1>: error calling slice: invalid slice index: 3 > 1',
    ),
    (
        '{{ eq .I "3" }}',
        '1:3: executing "" at <eq .I "3">: error calling eq: incompatible types for comparison: int and string',
    ),
    ("{{ eq .I }}", '1:3: executing "" at <eq .I>: error calling eq: missing argument for comparison'),
    ("{{ lt .N 1 }}", '1:3: executing "" at <lt .N 1>: error calling lt: invalid type for comparison'),
    (
        "{{ eq .L .L }}",
        '1:3: executing "" at <eq .L .L>: error calling eq: non-comparable type [a 1.5 <nil> true]: []interface {}',
    ),
    ("{{ len .I }}", '1:3: executing "" at <len .I>: error calling len: len of type int'),
    ("{{ len .N }}", '1:3: executing "" at <len .N>: error calling len: len of nil pointer'),
    ("{{ len .S .S }}", '1:3: executing "" at <len>: wrong number of args for len: want 1 got 2'),
    ("{{ range .S }}{{ end }}", '1:9: executing "" at <.S>: range can\'t iterate over text'),
    ('{{ template "no" . }}', '1:12: executing "" at <{{template "no" .}}>: template "no" not defined'),
    (
        '{{ define "d" }}{{ .x.y }}{{ end }}{{ template "d" .L }}',
        '1:21: executing "d" at <.x.y>: can\'t evaluate field x in type []interface {}',
    ),
    ("{{ .M.a.x }}", '1:5: executing "" at <.M.a.x>: can\'t evaluate field x in type interface {}'),
    (
        "{{ $x := .M }}{{ $x.a.x }}",
        '1:19: executing "" at <$x.a.x>: can\'t evaluate field x in type interface {}',
    ),
    ("{{ nil }}", '1:3: executing "" at <nil>: nil is not a command'),
    ('{{ "a" "b" }}', '1:3: executing "" at <"a">: can\'t give argument to non-function "a"'),
    ("{{ $x = 1 }}", '1:8: executing "" at <1>: undefined variable: $x'),
    ("{{ .M.a 1 }}", '1:5: executing "" at <.M.a>: a is not a method but has arguments'),
    (
        "{{ 9223372036854775808 }}",
        '1:3: executing "" at <9223372036854775808>: 9223372036854775808 overflows int',
    ),
    ("{{ printf 5 }}", '1:10: executing "" at <5>: expected string; found 5'),
    ("{{ printf .I }}", '1:10: executing "" at <.I>: wrong type for value; expected string; found int'),
    (
        "{{ call .S 1 }}",
        '1:3: executing "" at <call .S 1>: error calling call: non-function .S of type string',
    ),
    ("{{ json }}", '1:3: executing "" at <json>: wrong number of args for json: want 1 got 0'),
    ("{{ and }}", '1:3: executing "" at <and>: wrong number of args for and: want at least 1 got 0'),
]


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_errors_name_their_place(text: str, message: str) -> None:
    """A fault while running names line, byte column, template and expression as Go does."""
    with pytest.raises(TemplateError) as caught:
        Template.parse(text + "{{ .Response }}").execute(DATA)
    assert str(caught.value) == f"template: :{message}"


def test_no_value_of_a_variable_has_no_fields_and_no_error() -> None:
    """A nil that went through a pipeline is no value: its fields are no value too."""
    assert Template.parse("{{ $x := .N }}{{ $x.y.z }}{{ .Response }}").execute(DATA) == "<no value>"


HOSTILE = [
    "{{ range 9223372036854775807 }}{{ end }}",
    "{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}",
    '{{ define "r" }}{{ template "r" . }}{{ end }}{{ template "r" . }}',
    '{{ define "r" }}{{ if 1 }}{{ with 1 }}{{ template "r" . }}{{ end }}{{ end }}{{ end }}{{ template "r" . }}',
    '{{ $x := "aaaaaaaaaaaaaaaa" }}{{ range 64 }}{{ $x = print $x $x }}{{ end }}',
    '{{ range 1000000 }}{{ printf "%1000000d" 1 }}{{ end }}',
    '{{ printf "' + "%999999d" * 100 + '"' + " 1" * 100 + " }}",
    "{{ range 1000000 }}" + "x" * 1000 + "{{ end }}",
]


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_templates_end_in_an_error(text: str) -> None:
    """Endless loops, endless recursion and exploding texts hit a bound."""
    with pytest.raises(TemplateError):
        Template.parse(text + "{{ .Response }}").execute({"Response": ""})


def test_deep_data_ends_in_an_error_or_text() -> None:
    """Data nested deeper than Python's stack does not crash the engine."""
    deep: object = []
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(TemplateError, match="nested too deeply"):
        Template.parse("{{ .D }}{{ .Response }}").execute({"D": deep})


@given(st.text(), st.integers(0, 30), st.integers(0, 30))
def test_slices_of_bytes_join_to_the_text(text: str, low: int, high: int) -> None:
    """Cutting a string into byte ranges and printing them in a row loses nothing."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    size = len(clean.encode())
    first, second = sorted((min(low, size), min(high, size)))
    cuts = (f"{{{{ slice .T {cut} }}}}" for cut in (f"0 {first}", f"{first} {second}", f"{second}"))
    template = Template.parse("".join(cuts) + "{{ .Response }}")
    assert template.execute({"T": clean, "Response": ""}) == clean
