"""Groups of models in configuration files."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from corral.config import Settings
from corral.configfile.effective import shown_config
from corral.configfile.groups import check_groups, groups_of
from corral.configfile.problems import ConfigFileError
from corral.configfile.reading import FileConfig, read_config
from corral.configfile.schema import json_schema
from corral.configfile.sections import Group
from corral.errors import CorralError
from corral.inference.sectioncheck import check_sections
from corral.scheduler.configure import scheduler_config

NOWHERE = Path("/nonexistent/config.toml")
TEXT = """\
[groups.agents]
members = ["coder", "embed*"]
mode = "together"

[groups.big-ones]
members = ["llama3.1:70b", "qwen3:32b"]
mode = "one-at-a-time"

[groups."always.there"]
members = ["short"]
mode = "pinned"

[aliases]
short = "router:1b"
"""


def read(folder: Path, text: str, below: str = "") -> FileConfig:
    (folder / "config.toml").write_text(below)
    (folder / "c.toml").write_text(text)
    return read_config({"CORRAL_HOME": str(folder), "CORRAL_CONFIG": str(folder / "c.toml")}, NOWHERE)


def problems(folder: Path, text: str) -> list[tuple[int, str]]:
    with pytest.raises(ConfigFileError) as caught:
        read(folder, text)
    return [(problem.line, problem.text) for problem in caught.value.problems]


def test_they_reach_the_scheduler(tmp_path: Path) -> None:
    settings = Settings.from_env({}, read(tmp_path, TEXT))
    check_sections(settings.sections)
    assert scheduler_config(settings).groups == (
        Group("agents", ("coder", "embed*"), "together"),
        Group("big-ones", ("llama3.1:70b", "qwen3:32b"), "one-at-a-time"),
        Group("always.there", ("router:1b",), "pinned"),
    )
    assert [group.name for group in groups_of("router:1b", settings.sections.groups)] == ["always.there"]


def test_what_is_shown_is_a_file_that_says_the_same(tmp_path: Path) -> None:
    config = read(tmp_path, TEXT)
    shown = shown_config({}, config, {}, with_origin=False)
    Draft202012Validator(json_schema()).validate(tomllib.loads(shown))
    assert read(tmp_path, shown).sections.groups == config.sections.groups


def test_files_are_united(tmp_path: Path) -> None:
    below = '[groups.a]\nmembers = ["x", "y"]\nmode = "pinned"\n'
    above = '[groups.a]\nmembers = ["y", "z"]\nmode = "together"\n'
    assert read(tmp_path, above, below).sections.groups == (Group("a", ("x", "y", "z"), "together"),)


@pytest.mark.parametrize("mode", ["one_at_a_time", "one-at-a-time"])
def test_spellings_of_a_mode(tmp_path: Path, mode: str) -> None:
    [group] = read(tmp_path, f'[groups.a]\nmembers = ["x"]\nmode = "{mode}"\n').sections.groups
    assert group.mode == "one-at-a-time"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('groups = "x"', 1, "table of tables"),
        ("[groups]\na = 1", 2, "[groups.a]"),
        ('[groups.a]\nmode = "pinned"', 1, "members must be a list"),
        ('[groups.a]\nmembers = []\nmode = "pinned"', 2, "members must be a list"),
        ('[groups.a]\nmembers = ["x", 1]\nmode = "pinned"', 2, "members must be a list"),
        ('[groups.a]\nmembers = [" "]\nmode = "pinned"', 2, "members must be a list"),
        ('[groups.a]\nmembers = "x"\nmode = "pinned"', 2, "members must be a list"),
        ('[groups.a]\nmembers = ["x"]', 1, '"together", "one-at-a-time", "pinned"'),
        ('[groups.a]\nmembers = ["x"]\nmode = "swap"', 3, '"together", "one-at-a-time", "pinned"'),
        ('[groups.a]\nmembers = ["x"]\nmode = ["pinned"]', 3, '"together"'),
        ('[groups.a]\nmembers = ["x"]\nmode = "pinned"\nmember = ["y"]', 4, "did you mean members?"),
        ('[groups."a b"]\nmembers = ["x"]\nmode = "pinned"', 1, "the name of a group"),
        ('[group.a]\nmembers = ["x"]\nmode = "pinned"', 1, "did you mean groups?"),
    ],
)
def test_what_is_an_error(tmp_path: Path, text: str, line: int, words: str) -> None:
    [(found, message)] = problems(tmp_path, text)
    assert found == line and words in message
    assert not Draft202012Validator(json_schema()).is_valid(tomllib.loads(text))


@pytest.mark.parametrize(
    ("one", "other", "is_wrong"),
    [
        (Group("a", ("x", "y"), "together"), Group("b", ("x", "y", "z"), "one-at-a-time"), True),
        (Group("a", ("x", "y"), "together"), Group("b", ("x", "z"), "one-at-a-time"), False),
        (Group("a", ("x",), "pinned"), Group("b", ("x", "z"), "one-at-a-time"), True),
        (Group("a", ("x",), "pinned"), Group("b", ("x", "y"), "together"), False),
        (Group("a", ("x", "y"), "one-at-a-time"), Group("b", ("x", "y"), "one-at-a-time"), False),
    ],
)
def test_groups_that_contradict_each_other(one: Group, other: Group, is_wrong: bool) -> None:
    for groups in ([one, other], [other, one]):
        if is_wrong:
            with pytest.raises(
                CorralError, match=r"\[groups\.a\].*\[groups\.b\]|\[groups\.b\].*\[groups\.a\]"
            ):
                check_groups(groups)
        else:
            check_groups(groups)
