"""One request in four languages: curl, Python, JavaScript, Go."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from scripts.site.calls import NODE_NAMES, Call

BASE = "http://localhost:11434"
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Request:
    """What an example sends. `body` is a JSON value (None: nothing); `shows`: what of the answer is printed."""

    method: str
    path: str
    body: Any
    header: tuple[str, str] | None
    streams: bool
    shows: Literal["json", "text", "status"]

    @property
    def url(self) -> str:
        return BASE + self.path

    @property
    def sent(self) -> Any:
        """The body without a package, which would have asked for one answer."""
        return {**self.body, "stream": False} if self.streams and self.body is not None else self.body


def _literal(value: Any, dialect: str, indent: int, width: int) -> str:
    """A JSON value as a literal of Python, JavaScript or JSON, on one line if it fits into `width`."""
    flat = _flat(value, dialect)
    if len(flat) <= width or not isinstance(value, dict | list) or not value:
        return flat
    inner, outer = " " * (indent + _STEP[dialect]), " " * indent
    if isinstance(value, dict):
        rows = [
            f"{inner}{_member(name, dialect)}: {_literal(each, dialect, indent + _STEP[dialect], width - 12)}"
            for name, each in value.items()
        ]
        opened, closed = "{", "}"
    else:
        rows = [f"{inner}{_literal(each, dialect, indent + _STEP[dialect], width - 4)}" for each in value]
        opened, closed = "[", "]"
    last = "" if dialect == "json" else ","
    return f"{opened}\n" + ",\n".join(rows) + f"{last}\n{outer}{closed}"


_STEP = {"python": 4, "js": 2, "json": 2}


def _member(name: str, dialect: str) -> str:
    return name if dialect == "js" and name.isidentifier() else json.dumps(name)


def _flat(value: Any, dialect: str) -> str:
    match value:
        case dict():
            pairs = ", ".join(
                f"{_member(name, dialect)}: {_flat(each, dialect)}" for name, each in value.items()
            )
            return (f"{{ {pairs} }}" if dialect == "js" else f"{{{pairs}}}") if pairs else "{}"
        case list():
            return f"[{', '.join(_flat(each, dialect) for each in value)}]"
        case bool() | None if dialect == "python":
            return repr(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def curl(request: Request) -> str:
    words = ["curl"]
    if request.method == "HEAD":
        words.append("-I")
    elif request.method not in ("GET", "POST") or (request.method == "POST" and request.body is None):
        words += ["-X", request.method]
    quoted = request.url if "?" not in request.url else f"'{request.url}'"
    words.append(quoted)
    if request.header is not None:
        words.append(f'-H "{request.header[0]}: {request.header[1]}"')
    if request.sent is None:
        return " ".join(words) + "\n"
    body = _literal(request.sent, "json", 0, 60).replace("'", "'\\''")
    return " ".join([*words, f"-d '{body}'"]) + "\n"


_CLIENTS = {
    "openai": f'client = openai.OpenAI(base_url="{BASE}/v1", api_key="none")',
    "anthropic": f'client = anthropic.Anthropic(base_url="{BASE}", api_key="none")',
}


def _call_of(function: str, arguments: list[str], step: str) -> str:
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= _WIDTH and "\n" not in line:
        return line
    return f"{function}(\n" + "".join(f"{step}{each},\n" for each in arguments) + ")"


def python(request: Request, call: Call | None) -> str:
    if call is None:
        return _python_http(request)
    arguments = [call.arguments] if call.arguments else []
    if not arguments and request.body is not None:
        names = {"from": "from_"}
        arguments = [
            f"{names.get(name, name)}={_literal(value, 'python', 4, 70)}"
            for name, value in request.body.items()
        ]
    made = f"{_CLIENTS[call.package]}\n" if call.package in _CLIENTS else ""
    asked = f"response = {_call_of(call.python, arguments, '    ')}"
    return f"import {call.package}\n\n{made}{asked}\nprint({call.shows})\n"


def _python_http(request: Request) -> str:
    function = f"httpx.{request.method.lower()}"
    arguments = [json.dumps(request.url)]
    if request.header is not None:
        arguments.append(f"headers={{{json.dumps(request.header[0])}: {json.dumps(request.header[1])}}}")
    if request.sent is not None:
        if request.method == "DELETE":
            function, arguments = "httpx.request", ['"DELETE"', *arguments]
        arguments.append(f"json={_literal(request.sent, 'python', 4, 70)}")
    if request.sent is not None:
        arguments.append("timeout=None")
    shown = {"json": "json()", "text": "text", "status": "status_code"}[request.shows]
    asked = _call_of(function, arguments, "    ")
    return f"import httpx\n\nresponse = {asked}\nprint(response.{shown})\n"


def node(request: Request, call: Call | None) -> str:
    if call is None or not call.node:
        return _fetch(request)
    if call.node_arguments and call.node_arguments != "body":
        argument = call.node_arguments
    else:
        argument = "" if request.body is None else _literal(request.body, "js", 0, _WIDTH - 40)
    name = call.node.partition(".")[2]
    function = f"{call.node.partition('.')[0]}.{NODE_NAMES.get(name, name)}"
    made = {
        "ollama": 'import ollama from "ollama";\n\n',
        "openai": 'import OpenAI from "openai";\n\n'
        f'const client = new OpenAI({{ baseURL: "{BASE}/v1", apiKey: "none" }});\n',
    }[call.package]
    return f"{made}const response = await {function}({argument});\nconsole.log({call.node_shows});\n"


def _fetch(request: Request) -> str:
    options: list[str] = []
    if request.method != "GET":
        options.append(f'method: "{request.method}"')
    if request.header is not None:
        name, value = request.header
        options.append(
            f"headers: {{ {name if name.isidentifier() else json.dumps(name)}: {json.dumps(value)} }}"
        )
    if request.sent is not None:
        options.append(f"body: JSON.stringify({_literal(request.sent, 'js', 2, _WIDTH - 40)})")
    if not options:
        asked = f"fetch({json.dumps(request.url)})"
    else:
        flat = f"fetch({json.dumps(request.url)}, {{ {', '.join(options)} }})"
        asked = (
            flat
            if len(flat) < _WIDTH - 24 and "\n" not in flat
            else f"fetch({json.dumps(request.url)}, {{\n" + "".join(f"  {each},\n" for each in options) + "})"
        )
    shown = "response.status" if request.shows == "status" else f"await response.{request.shows}()"
    return f"const response = await {asked};\nconsole.log({shown});\n"


_GO = """package main

import (
{imports})

func main() {{
{before}	if err != nil {{
		log.Fatal(err)
	}}
	defer response.Body.Close()
	{shown}
}}
"""
_GO_REQUEST = """	request, err := http.NewRequest("{method}", "{url}", {body})
	if err != nil {{
		log.Fatal(err)
	}}
{header}	response, err := http.DefaultClient.Do(request)
"""


def go(request: Request) -> str:
    """With the standard library alone: the answer goes to the output as it arrives."""
    packages = ["log", "net/http"]
    body = None if request.sent is None else _literal(request.sent, "json", 0, 70).replace("\n", "\n\t")
    if body is not None:
        packages.append("strings")
    if request.header is None and request.method in ("GET", "HEAD"):
        before = f'\tresponse, err := http.{request.method.capitalize()}("{request.url}")\n'
    elif request.header is None and request.method == "POST" and body is not None:
        before = f"\tbody := strings.NewReader(`{body}`)\n"
        before += f'\tresponse, err := http.Post("{request.url}", "application/json", body)\n'
    else:
        header = (
            "" if request.header is None else '\trequest.Header.Set("{}", "{}")\n'.format(*request.header)
        )
        sent = "nil" if body is None else f"strings.NewReader(`{body}`)"
        before = _GO_REQUEST.format(method=request.method, url=request.url, body=sent, header=header)
    if request.shows == "status":
        shown = "fmt.Println(response.Status)"
        packages.append("fmt")
    else:
        shown = "io.Copy(os.Stdout, response.Body)"
        packages += ["io", "os"]
    imports = "".join(f'\t"{name}"\n' for name in sorted(packages))
    return _GO.format(imports=imports, before=before, shown=shown)
