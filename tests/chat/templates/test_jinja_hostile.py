"""Templates as an attacker would write them: each ends soon, in little memory, and with a TemplateError at most."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from corral.chat.templates.jinja import ChatTemplate
from corral.errors import TemplateError
from corral.types import Message

MESSAGES = [Message("system", "be kind"), Message("user", "hello " * 20)]
GROW = "{% set ns = namespace(s='x', l=[1], m=[1], n=3) %}{% for i in range(60) %}"
BIG = "{% set s = 'xy' * 1000000 %}"

BOMBS = {
    "repeat": "{{ 'x' * 10**9 }}",
    "repeat often": "{{ 'x' * 1000000000 }}",
    "repeat a list": "{{ ['x' * 1000000] * 10000 }}",
    "concat": GROW + "{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s|length }}",
    "concat many": BIG + "{{ (" + "~".join(["s"] * 3000) + ")|length }}",
    "plus": GROW + "{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s|length }}",
    "set block": GROW + "{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}{% endfor %}",
    "set block of text": "{% set t %}{% for i in range(199999) %}"
    + "text " * 20000
    + "{% endfor %}{% endset %}",
    "macro": "{% macro m(x) %}{{ x }}{{ x }}{{ x }}{% endmacro %}"
    + GROW
    + "{% set ns.s = m(ns.s) %}{% endfor %}",
    "wide macro": BIG + "{% macro m(x) %}" + "{{ x }}" * 20000 + "{% endmacro %}{{ m(s) }}",
    "recursion": "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "exponential macro": "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(80) }}",
    "replace": BIG + "{{ s.replace('x', s)|length }}",
    "replace nothing": BIG + "{{ s.replace('', s)|length }}",
    "replace filter": BIG + "{{ s|replace('x', s)|length }}",
    "join": BIG + "{{ s.join(s)|length }}",
    "join filter": BIG + "{{ range(100000)|join(s)|length }}",
    "join lists": BIG + "{{ ([s] * 3)|map('upper')|join(s)|length }}",
    "split": "{{ ('a ' * 4000000).split()|length }}",
    "letters": "{{ ('a' * 8000000)|list|length }}",
    "tabs": "{{ ('\t' * 100000).expandtabs(1000000)|length }}",
    "center": "{{ 'x'.center(1000000000) }}",
    "ljust": "{{ 'x'.ljust(width=1000000000) }}",
    "zfill": "{{ '1'.zfill(1000000000) }}",
    "percent": "{{ '%1000000000d' % 1 }}",
    "percent star": "{{ '%*d' % (1000000000, 1) }}",
    "format": "{{ '{:1000000000}'.format('x') }}",
    "format nested": "{{ '{:{}}'.format('x', 1000000) }}",
    "format map": "{{ '{a:999999999}'.format_map({'a': 1}) }}",
    "format filter": "{{ '%099999999d'|format(1) }}",
    "indent": "{{ ('\n' * 1000000)|indent(1000000)|length }}",
    "json indent": "{{ ([1] * 100000)|tojson(indent=1000000)|length }}",
    "json separators": "{{ ([1] * 100000)|tojson(separators=('x' * 100000, ':'))|length }}",
    "range": "{% for i in range(10**12) %}{% endfor %}",
    "ranges": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "string loop": BIG + "{% for a in s %}{% for b in s %}{% endfor %}{% endfor %}",
    "numbers": GROW + "{% set ns.n = ns.n * ns.n %}{% endfor %}{{ ns.n % 7 }}",
    "shared lists": GROW + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
    "compared lists": GROW
    + "{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
    "shared dicts": GROW + "{% set ns.l = {'a': ns.l, 'b': ns.l} %}{% endfor %}{{ ns.l|tojson }}",
    "shared tuples": GROW + "{% set ns.l = (ns.l, ns.l) %}{% endfor %}{{ ns.l|string }}",
    "dict call": GROW + "{% set ns.l = dict(a=ns.l, b=ns.l) %}{% endfor %}{{ ns.l|tojson }}",
    "list sum": "{{ ([range(1000)|list] * 1000)|sum(start=[])|length }}",
    "slices": BIG + "".join(f"{{% set a{i} = s[1:] %}}" for i in range(3000)),
    "sort": "{% for i in range(1000) %}{{ range(199999)|list|sort|first }}{% endfor %}",
    "batch": "{{ range(10)|batch(1000000, 'x')|list|length }}",
    "slice": "{{ range(10)|slice(100000000)|list|length }}",
    "wordwrap": "{{ ('x' * 8000000)|wordwrap(1)|length }}",
    "round": "{{ 1.5|round(1000000000) }}",
    "strftime": "{{ strftime_now('%099999999Y') }}",
    "output": BIG + "{% for i in range(1000) %}{{ s }}{% endfor %}",
    "text": "{% for i in range(199999) %}" + "x" * 5000 + "{% endfor %}",
    "deep expression": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep list": "{{ " + "[" * 5000 + "1" + "]" * 5000 + " }}",
    "deep blocks": "{% if true %}" * 2000 + "{% endif %}" * 2000,
    "deep loops": "{% for a in [1] %}" * 60 + "{% endfor %}" * 60,
    "many nots": "{{ " + "not " * 20000 + "1 }}",
    "long chain": "{{ 1 " + "+ 1 " * 20000 + "}}",
    "open comment": "{#" * 100000,
    "open tags": "{{" * 100000,
    "blanks": "{%-" + " " * 900000,
    "include": "{% include 'x' %}",
    "import": "{% import 'os' as os %}{{ os }}",
    "extends": "{% extends messages %}",
    "loop recursion": "{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}",
    "translate": "{{ 'aaaa'.translate({97: 'x' * 100000})|length }}",
}


# Plays them all in a process of its own, with less time than a server gives them, and prints what each took.
_PLAYER = """
import json, re, resource, time
from pathlib import Path
from corral.errors import TemplateError
from corral.chat.templates import sandbox
from corral.chat.templates.jinja import ChatTemplate
from tests.chat.templates.test_jinja_hostile import BOMBS, MESSAGES
sandbox._MAX_CPU_S = 0.2


def peak_mib():
    status = Path("/proc/self/status")
    if status.exists():  # rusage counts what the process was before it became this program
        return int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) >> 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


took = {}
for name, source in BOMBS.items():
    started = time.thread_time()
    try:
        ChatTemplate(source).render(MESSAGES)
    except TemplateError:
        pass
    took[name] = time.thread_time() - started
    took[name + ' (MiB so far)'] = peak_mib()
print(json.dumps(took))
"""


@pytest.mark.process
def test_bombs_do_not_go_off() -> None:
    """Bounded in processor time and in memory."""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", _PLAYER], cwd=root, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    took = json.loads(done.stdout)
    assert max(seconds for name, seconds in took.items() if name in BOMBS) < 15, took
    assert max(size for name, size in took.items() if name not in BOMBS) < 900, took


ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__.__init__.__globals__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ raise_exception.__func__ }}",
    "{{ strftime_now.__code__ }}",
    "{{ ''|attr('__class__') }}",
    "{{ [1]|map(attribute='__class__')|list }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ ('{0.__class__.__init__.__globals__}'|attr('format'))(raise_exception) }}",
    "{{ ['{0.__class__}']|map('format', messages)|list }}",
    "{{ self.__init__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ dict.__base__ }}",
    "{{ loop.__class__ }}",
    "{{ (1).real.__class__ }}",
    "{% set x = messages.append(1) %}",
    "{% set x = messages[0].update({'role': 'x'}) %}",
    "{% set x = messages.clear() %}",
    "{% set messages[0].role = 'x' %}",
    "{% macro m() %}{{ m.__globals__ }}{% endmacro %}{{ m() }}",
    "{{ environment }}{{ context }}{{ __builtins__ }}",
    "{{ tools.__class__ }}{{ cycler }}{{ lipsum.__globals__ }}",
    "{{ corral_counted }}{{ [1]|corral_counted(1)|list }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_no_way_out_of_the_sandbox(source: str) -> None:
    """Nothing of Python comes out, and the conversation stays as it is."""
    before = [(message.role, message.content) for message in MESSAGES]
    try:
        text = ChatTemplate(source).render(MESSAGES)
    except TemplateError:
        text = ""
    assert not any(
        word in text for word in ("class", "<function", "module", "globals", "object at", "built-in")
    )
    assert [(message.role, message.content) for message in MESSAGES] == before
