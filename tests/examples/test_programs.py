"""The programs of examples/, as people start them, against a real server with corral-tiny."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Server
from tests.extras import need

need("ollama", "openai", "pydantic")
ROOT = Path(__file__).parents[2] / "examples"
MODEL = "corral-tiny"
_PATIENCE_S = 300


@pytest.fixture(scope="module")
def tiny(server: Server) -> Server:
    assert server.stream("/api/pull", {"model": MODEL})[-1] == {"status": "success"}
    return server


def run(
    server: Server, folder: Path, *command: str, text: str = "", fails: bool = False
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**server.env, "MODEL": MODEL},
        input=text,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert (done.returncode != 0) is fails, done.stderr + done.stdout
    return done


def python(server: Server, example: str, *words: str, text: str = "") -> str:
    folder = ROOT / example
    return run(server, folder, sys.executable, f"{example}.py", *words, "--model", MODEL, text=text).stdout


def test_chat_remembers(tiny: Server) -> None:
    """The second answer needs the first question."""
    said = python(tiny, "chat", text="My name is Anna.\n\nWhat is my name?\n")
    first, second = (line for line in said.splitlines() if line)
    assert "Anna" in second, (first, second)


def test_chat_without_a_model(tiny: Server) -> None:
    done = run(
        tiny, ROOT / "chat", sys.executable, "chat.py", "--model", "nobody", text="Hello\n", fails=True
    )
    assert "nobody" in done.stderr and "Traceback" not in done.stderr


def test_rag_finds_and_names_its_sources(tiny: Server, tmp_path: Path) -> None:
    """The question is one of the notes: its own vector is the nearest. A second run embeds nothing again."""
    notes = tmp_path / "notes"
    shutil.copytree(ROOT / "rag" / "notes", notes)
    question = "Receipts go to accounting within a month, as photos."
    words = (str(notes), question, "--embedder", "embed", "--index", str(tmp_path / "index.sqlite3"))
    first = python(tiny, "rag", *words)
    assert first.rstrip().splitlines()[-1].startswith("From: travel.md")
    before = embedded(tiny)
    assert python(tiny, "rag", *words).splitlines()[-1] == first.rstrip().splitlines()[-1]
    assert embedded(tiny) == before


def embedded(server: Server) -> int:
    return sum("path=/api/embed " in line for line in server.log)


def test_extract_follows_the_type(tiny: Server) -> None:
    """Each line of text gives an object that the class accepts."""
    out = python(tiny, "extract", text="Anna Schmidt, 34, is a nurse in Graz.\n\nBen is a cook.\n")
    objects = [json.loads(line) for line in out.splitlines()]
    assert len(objects) == 2
    for each in objects:
        assert list(each) == ["name", "age", "occupation", "mood"]
        assert 0 <= each["age"] <= 130 and each["mood"] in ("good", "bad", "unknown")


def test_agent_calls_its_tool(tiny: Server) -> None:
    done = run(
        tiny, ROOT / "agent", sys.executable, "agent.py", "What is the weather in Paris?", "--model", MODEL
    )
    assert "get_weather" in done.stderr and "sunny, 21 degrees" in done.stderr
    assert "sunny" in done.stdout.lower()


def test_batch_goes_on_where_it_was(tiny: Server, tmp_path: Path) -> None:
    """After an interruption the rest is answered, in the order of the rows."""
    target = tmp_path / "out.csv"
    words = ("capitals.csv", str(target), "What is the capital of {country}?")
    python(tiny, "batch", *words)
    whole = target.read_text()
    rows = list(csv.DictReader(whole.splitlines()))
    assert [row["country"] for row in rows] == ["France", "Italy", "Japan", "Egypt"]
    assert [
        city in row["answer"] for city, row in zip(("Paris", "Rome", "Tokyo", "Cairo"), rows, strict=True)
    ] == [True] * 4
    target.write_text("".join(whole.splitlines(keepends=True)[:3]))
    python(tiny, "batch", *words)
    assert target.read_text() == whole


def test_logs(tiny: Server, tmp_path: Path) -> None:
    """Equal kinds are counted together; a table with a severity for each finding follows."""
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    out = run(tiny, ROOT / "logs", "bash", "logs.sh", "app.log").stdout
    counts, _, table = out.partition("\n\n")
    assert counts.splitlines()[0].split() == "2 ERROR disk /dev/sdaN is N% full".split()
    assert len(counts.splitlines()) == 3
    assert table.strip()
    for row in table.strip().splitlines():
        assert row.split("\t")[0] in ("low", "medium", "high")
    (tmp_path / "calm.log").write_text("all is well\n")
    calm = run(tiny, ROOT / "logs", "bash", "logs.sh", str(tmp_path / "calm.log")).stdout
    assert calm.startswith("no errors in")


SCRIPT = """
import { ask } from "%s";
let pieces = [];
const messages = [{ role: "user", content: "What is the capital of France?" }];
for await (const text of ask(process.argv[1], "corral-tiny", messages)) {
  pieces.push(text);
}
let error = "";
try { for await (const _ of ask(process.argv[1], "nobody", [])); } catch (thrown) { error = thrown.message; }
console.log(JSON.stringify({ pieces, error }));
"""


def test_page_streams(tiny: Server) -> None:
    """Its module, in Node: pieces of an answer, and the text of an error."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    script = SCRIPT % (ROOT / "page" / "stream.js").as_uri()
    done = run(tiny, ROOT / "page", node, "--input-type=module", "--eval", script, tiny.base)
    answer = json.loads(done.stdout)
    assert len(answer["pieces"]) > 2 and "Paris" in "".join(answer["pieces"])
    assert "nobody" in answer["error"]


def test_page_may_ask(tiny: Server) -> None:
    """A page from another port of this machine passes the check of origins."""
    origin = "http://localhost:8001"
    status, _ = tiny.request("POST", "/api/show", {"model": MODEL}, {"Origin": origin})
    assert status == 200
