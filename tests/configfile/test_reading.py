"""Configuration files: which are read, which wins, and what is an error."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from corral.config import Settings
from corral.configfile.effective import shown_config
from corral.configfile.kinds import kind_of
from corral.configfile.problems import ConfigFileError
from corral.configfile.reading import FileConfig, config_paths, read_config
from corral.configfile.schema import json_schema
from corral.configfile.sections import ReplicaRule
from corral.settingstable import SETTINGS

Read = Callable[..., FileConfig]
NOWHERE = Path("/nonexistent/config.toml")


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a text as the file that `CORRAL_CONFIG` names."""

    def read(text: str, **env: str) -> FileConfig:
        path = tmp_path / "c.toml"
        path.write_text(text)
        return read_config({"CORRAL_HOME": str(tmp_path / "h"), "CORRAL_CONFIG": str(path), **env}, NOWHERE)

    return read


def problems(read: Read, text: str, **env: str) -> list[tuple[int, str]]:
    with pytest.raises(ConfigFileError) as caught:
        read(text, **env)
    return [(problem.line, problem.text) for problem in caught.value.problems]


def test_files_win_over_each_other_in_their_order(tmp_path: Path) -> None:
    """Machine < user < CORRAL_CONFIG < environment, key by key."""
    files = [tmp_path / name for name in ("system.toml", "config.toml", "named.toml")]
    for i, path in enumerate(files):
        keys = ["max_queue", "max_connections", "max_json_depth", "max_body_bytes"][: 4 - i]
        path.write_text("[limits]\n" + "\n".join(f"{key} = {i + 1}" for key in keys))
    env = {"CORRAL_HOME": str(tmp_path), "CORRAL_CONFIG": str(files[2]), "OLLAMA_MAX_QUEUE": "9"}
    assert config_paths(env, files[0]) == files
    config = read_config(env, files[0])
    settings = Settings.from_env(env, config)
    assert settings.files == tuple(files)
    assert (settings.max_queue, settings.max_connections) == (9, 3)
    assert (settings.max_json_depth, settings.max_body_bytes) == (2, 1)
    assert config.sources["CORRAL_MAX_JSON_DEPTH"].path == files[1]


def test_no_file_is_needed_but_a_named_one(tmp_path: Path) -> None:
    assert read_config({"CORRAL_HOME": str(tmp_path)}, NOWHERE) == FileConfig()
    with pytest.raises(ConfigFileError, match=r"gone\.toml: no such file"):
        read_config({"CORRAL_HOME": str(tmp_path), "CORRAL_CONFIG": str(tmp_path / "gone.toml")}, NOWHERE)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("[server]\n\nhots = 1", 3, "unknown key server.hots; did you mean server.hosts?"),
        ("[sever]\nhost = 1", 1, "unknown key sever; did you mean server?"),
        ("[server]\nmax_queue = 1", 2, "did you mean limits.max_queue?"),
        ("max_queue = 1", 1, "did you mean limits.max_queue?"),
        ("server = 1", 1, "server is a section"),
        ("[limits]\nmax_queue = '5x'", 2, "limits.max_queue must be a whole number of 0 or more"),
        ("[limits]\nmax_queue = -1", 2, "must be a whole number"),
        ("[limits]\nmax_queue = 1.5", 2, "must be a whole number"),
        ("[limits]\nmax_queue = true", 2, "must be a whole number"),
        ("[limits]\nmax_queue = 1979-05-27", 2, "must be a whole number"),
        ("[store]\nno_prune = 1", 2, "store.no_prune must be true or false"),
        ("[store]\nno_prune = 'yes'", 2, "must be true or false"),
        ("[scheduler]\nkeep_alive = 'soon'", 2, "must be a duration"),
        ("[server]\norigins = 'http://x'", 2, "must be a list of strings"),
        ("[server]\norigins = ['http://x,http://y']", 2, "must be a list of strings without commas"),
        ("[server]\nhost = '127.0.0.1:99999'", 2, "server.host: '99999' is not a port"),
        ("[registry]\nserve = 'maybe'", 2, "registry.serve must be"),
        ("[server]\nhost = ", 2, "invalid value"),
        ("[server]\nhost = 'a'\nhost = 'b'", 3, "cannot overwrite a value"),
        ("[server]\nhost = '${env:GONE}'", 2, "the environment variable GONE is not set"),
        ("[server]\nhost = 'x${env:HOME}'", 2, "can only be a whole value"),
        ("[models.m]\nnum_ctxx = 1", 2, "unknown key models.m.num_ctxx; did you mean num_ctx?"),
        ("[models.m]\nnum_ctx = '1'", 2, "num_ctx must be a whole number"),
        ("[models.m]\nnum_ctx = -1", 2, "num_ctx must be a whole number"),
        ("[models.m]\ndevice = 'npu'", 2, 'device must be "auto", "cpu"'),
        ("[models.m]\nset = { tempature = 1 }", 2, "did you mean temperature?"),
        ("[models.m]\nset = { num_ctx = 1 }", 2, "num_ctx is a key of the section"),
        ("[models.m]\nstrip = ['sed']", 2, "did you mean seed?"),
        ("[models.m]\nengine = { cach_ram = 1 }", 2, "did you mean cache_ram?"),
        ("[models.m]\nengine = { cache_ram = 'much' }", 2, "cache_ram = 'much' is not valid"),
        ("[models.m]\nkeep_alive = 'soon'", 2, "keep_alive = 'soon' is not valid"),
        ("[models.'m*']\naliases = ['x']", 2, "aliases need the name of one model"),
        ("[models.m]\nreplicas = 3", 2, "replicas must be a table like { min = 1, max = 3, prewarm = 1 }"),
        ("[models.m]\nreplicas = { mn = 1 }", 2, "unknown key models.m.replicas.mn; did you mean min?"),
        ("[models.m]\nreplicas = { min = -1 }", 2, "min must be a whole number of 0 or more"),
        ("[models.m]\nreplicas = { min = true }", 2, "min must be a whole number of 0 or more"),
        ("[models.m]\nreplicas = { max = '2' }", 2, "max must be a whole number of 0 or more"),
        ("[models.m]\nreplicas = { min = 3, max = 2 }", 2, "max = 2 must not be less than min and prewarm"),
        ("[models.m.replicas]\nmax = 1\nprewarm = 2", 2, "max = 1 must not be less than min and prewarm"),
        ("[models.m]\nreplicas = { max = 0 }", 2, "max = 0 must not be less than 1"),
        ("[models.m]\nplacement = 'Spread'", 2, 'must be "spread" or "pack"; did you mean "spread"?'),
        ("[models.m]\nplacement = 'packed'", 2, 'must be "spread" or "pack"; did you mean "pack"?'),
        ("[models.m]\nplacement = 1", 2, 'placement must be "spread" or "pack"'),
        ("models = 3", 1, "models must be a table of tables"),
        ("[models]\nm = 3", 2, "expected a table"),
        ("[aliases]\na = 3", 2, "expected the name of a model"),
    ],
)
def test_what_is_wrong_has_a_line(read: Read, text: str, line: int, problem: str) -> None:
    ((found_line, found),) = problems(read, text)
    assert (found_line, problem in found) == (line, True), found


def test_all_problems_are_listed(read: Read) -> None:
    found = problems(read, "[server]\na = 1\n[limits]\nb = 2\nmax_queue = 'x'")
    assert [line for line, _ in found] == [2, 4, 5]


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"# one\n[server]\nhost = '\xff'")
    with pytest.raises(ConfigFileError, match=r"c\.toml:3: not UTF-8"):
        read_config({"CORRAL_HOME": str(tmp_path / "h"), "CORRAL_CONFIG": str(path)}, NOWHERE)
    path.write_bytes(b"\xef\xbb\xbf[limits]\r\nmax_queue = 3\r\n")
    found = read_config({"CORRAL_HOME": str(tmp_path / "h"), "CORRAL_CONFIG": str(path)}, NOWHERE)
    assert found.texts == {"OLLAMA_MAX_QUEUE": "3"}


def test_values_of_every_type(read: Read, tmp_path: Path) -> None:
    config = read(
        "[server]\nmodels_dir = 'store'\norigins = ['http://a', 'http://b']\n"
        "[scheduler]\nkeep_alive = 90\nload_timeout = '2m'\n"
        "[engine]\nflash_attention = false\nfit = false\ncache_ram_mib = 'auto'\nname = ''\n"
        "[registry]\nhugging_face_token = '${env:SECRET}'\npull_rate = '10MB'\n"
        "[log]\ndebug = true\n",
        SECRET="s3cret",
    )
    settings = Settings.from_env({}, config)
    assert settings.models_dir == tmp_path / "store"
    assert settings.origins == ("http://a", "http://b")
    assert (settings.keep_alive_ns, settings.load_timeout_ns) == (90 * 10**9, 120 * 10**9)
    assert (settings.flash_attention, settings.fits_memory, settings.cache_ram_mib) == (False, False, None)
    assert (settings.hugging_face_token, settings.pull_bytes_per_s) == ("s3cret", 10_000_000)
    assert (settings.log_level, settings.engine, settings.warnings) == ("DEBUG", "", ())


def test_an_invalid_variable_leaves_what_the_file_says(read: Read) -> None:
    settings = Settings.from_env({"OLLAMA_MAX_QUEUE": "many"}, read("[limits]\nmax_queue = 7"))
    assert settings.max_queue == 7
    assert settings.warnings == ("OLLAMA_MAX_QUEUE='many' is invalid, using 7",)


def test_a_file_that_all_may_change(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("")
    path.chmod(0o666)
    (warning,) = read_config({"CORRAL_HOME": str(tmp_path)}, NOWHERE).warnings
    assert f"chmod o-w {path}" in warning


SECTIONS = """
[models."*"]
num_ctx = 1024
keep_alive = "1h"
[models."qwen3:8b"]
num_ctx = 8192
strip = ["seed"]
aliases = ["Coder"]
draft = "qwen3:0.6b"
[models."qwen3*"]
num_ctx = 4096
num_parallel = 2
device = "gpu0"
strip = ["top_k"]
set = { temperature = 0.2, stop = ["x"] }
engine = { cache_ram = "2GiB", num_batch = 64, flash_attention = true, kv_cache_type = "q8_0" }
replicas = { min = 1, prewarm = 2 }
placement = "pack"
[aliases]
"GPT-4o" = "qwen3:8b"
"""


def test_sections_of_models(read: Read) -> None:
    """Globs in the order of the file, exact names last."""
    sections = read(SECTIONS).sections
    found = sections.section_for(("qwen3", "qwen3:8b", "registry.ollama.ai/library/qwen3:8b"))
    assert found.defaults == {
        "num_ctx": 8192,
        "temperature": 0.2,
        "stop": ["x"],
        "num_batch": 64,
        "main_gpu": 0,
    }
    assert found.strip == {"seed", "top_k"}
    assert found.engine == {
        "cache_ram_mib": 2048,
        "flash_attention": True,
        "kv_cache_type": "q8_0",
        "num_parallel": 2,
    }
    assert (found.keep_alive_ns, found.draft) == (3600 * 10**9, "qwen3:0.6b")
    assert (found.replicas, found.placement) == (ReplicaRule(min=1, max=2, prewarm=2), "pack")
    other = sections.section_for(("llama", "llama:latest"))
    assert (other.replicas, other.placement) == (None, None)
    assert (other.defaults, other.strip, other.engine) == ({"num_ctx": 1024}, frozenset(), {})
    assert sections.aliases == {"gpt-4o": "qwen3:8b", "coder": "qwen3:8b"}


@pytest.mark.parametrize(("text", "value"), [('"on"', True), ("false", False), ('"auto"', None)])
def test_speculation(read: Read, text: str, value: bool | None) -> None:
    """For the server, and for one model as an option that decides how it is loaded."""
    config = read(f"[engine]\nspeculation = {text}\n[models.m.engine]\nspeculation = false\n")
    assert Settings.from_env({}, config).speculation is value
    assert config.sections.section_for(("m",)).defaults == {"speculation": False}


def test_what_show_prints_is_read_back(read: Read) -> None:
    """As the same settings, and valid by the schema."""
    env = {"OLLAMA_ORIGINS": "http://a, http://b", "OLLAMA_DEBUG": "2", "OLLAMA_KEEP_ALIVE": "-1"}
    config = read(SECTIONS + "[engine]\nfit = false\n[server]\nhost = '127.0.0.1:0'\n")
    shown = shown_config(env, config, {}, with_origin=True)
    again = read(shown)
    assert Settings.from_env({}, again) == Settings.from_env(env, config)
    Draft202012Validator(json_schema()).validate(tomllib.loads(shown))
    assert "http://b" in shown and "# environment OLLAMA_ORIGINS" in shown


def test_show_keeps_secrets(read: Read) -> None:
    shown = shown_config({"HF_TOKEN": "s3cret"}, read(""), {}, with_origin=True)
    assert "s3cret" not in shown and "environment HF_TOKEN" in shown


def test_the_schema_agrees_with_the_reader(read: Read) -> None:
    """What one of them refuses, the other refuses too."""
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    refused = [
        "[limits]\nmax_queue = -1",
        "[server]\nx = 1",
        "[models.m]\nset = { x = 1 }",
        "[models]\nm = 3",
    ]
    for text in refused:
        assert not validator.is_valid(tomllib.loads(text)), text
        assert problems(read, text)
    for text in (SECTIONS, "[limits]\nmax_queue = 3", "[scheduler]\nkeep_alive = 90"):
        validator.validate(tomllib.loads(text))
        assert read(text)


def test_every_setting_has_a_kind_that_takes_its_default() -> None:
    """The default as printed can be written into the file: through `show`, or by hand."""
    for setting in SETTINGS:
        kind = kind_of(setting.read)
        assert kind.expected and kind.schema, setting.name
