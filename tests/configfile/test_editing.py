"""Engine settings of a model put into a file that somebody wrote."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.configfile.editing import EditError, engine_section, with_engine, write_engine
from corral.configfile.reading import read_config

FOUND = {"num_thread": 6, "flash_attention": False}
OWN = """\
# mine
[server]
host = "0.0.0.0"   # for the LAN

[models."qwen3*"]  # all of them
num_ctx = 8192

[models."llama3.2"]
num_ctx = 4096 # enough
engine = { num_thread = 2, kv_cache_type = "q8_0" }

[aliases]
small = "llama3.2"
"""


@pytest.mark.parametrize(
    ("text", "model", "expected"),
    [
        ("", "m", '[models.m]\nengine = { num_thread = 6, flash_attention = false }\n'),
        ("[server]", "a.b:1", '[server]\n\n[models."a.b:1"]\nengine = { num_thread = 6, flash_attention = false }\n'),
        (OWN, "new", OWN + "\n[models.new]\nengine = { num_thread = 6, flash_attention = false }\n"),
        (
            OWN,
            "qwen3*",
            OWN.replace(
                "# all of them\n", "# all of them\nengine = { num_thread = 6, flash_attention = false }\n"
            ),
        ),
        (
            OWN,
            "llama3.2",
            OWN.replace(
                'engine = { num_thread = 2, kv_cache_type = "q8_0" }',
                'engine = { num_thread = 6, kv_cache_type = "q8_0", flash_attention = false }',
            ),
        ),
        ("[models.m]", "m", "[models.m]\nengine = { num_thread = 6, flash_attention = false }\n"),
    ],
)  # fmt: skip
def test_only_our_line_changes(text: str, model: str, expected: str) -> None:
    assert with_engine(text, model, FOUND) == expected
    assert with_engine(expected, model, FOUND) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[models.m.engine]\nnum_thread = 2\n",
        "[models.m]\nengine = { num_thread = 2 } # measured by hand\n",
        "[models.m]\nengine.num_thread = 2\nengine.num_batch = 9\n",
        "[models.m]\nengine = {\n num_thread = 2 }\n",
        "[models]\nm = { num_ctx = 1 }\n",
        "[models]\nm.num_ctx = 1\n",
        "models.m.num_ctx = 1\n",
        "[models.m]\nengine = { num_thread = 2 }; [x\n",
        "[models\n",
    ],
)
def test_what_somebody_wrote_is_not_taken_apart(text: str) -> None:
    with pytest.raises(EditError):
        with_engine(text, "m", FOUND)


@given(
    st.dictionaries(
        st.text(max_size=5), st.dictionaries(st.text("abc", min_size=1), st.integers()), max_size=3
    ),
    st.text(max_size=8),
)
def test_nothing_is_lost(models: dict[str, dict[str, int]], model: str) -> None:
    """Whatever the names are, the file says afterwards what it said and what was added."""
    text = "".join(engine_section(name, engine) for name, engine in models.items())
    wanted: dict[str, Any] = {name: {"engine": engine} for name, engine in models.items()}
    wanted.setdefault(model, {"engine": {}})["engine"] = {
        **wanted.get(model, {"engine": {}})["engine"],
        **FOUND,
    }
    try:
        after = with_engine(text, model, FOUND)
    except EditError:
        return
    assert tomllib.loads(after)["models"] == wanted


def test_files(tmp_path: Path) -> None:
    """A new one is private, one that exists keeps its mode, a link stays a link; the reader takes the result."""
    new = tmp_path / "home" / "config.toml"
    write_engine(new, "m", FOUND)
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    own = tmp_path / "own.toml"
    own.write_text(OWN)
    own.chmod(0o640)
    link = tmp_path / "link.toml"
    link.symlink_to(own)
    write_engine(link, "llama3.2", FOUND)
    assert link.is_symlink()
    assert stat.S_IMODE(own.stat().st_mode) == 0o640
    found = read_config({"CORRAL_CONFIG": str(link), "CORRAL_HOME": str(tmp_path)}, tmp_path / "none")
    assert found.sections.section_for(("llama3.2",)).engine["flash_attention"] is False


def test_a_file_that_cannot_be_changed_stays(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[models.m.engine]\nnum_thread = 2\n")
    with pytest.raises(EditError, match=r"config\.toml is not changed: ") as caught:
        write_engine(path, "m", FOUND)
    assert engine_section("m", FOUND) in caught.value.hint
    assert path.read_text() == "[models.m.engine]\nnum_thread = 2\n"
