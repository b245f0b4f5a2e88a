"""llama-swap's file: what becomes of its commands, names, times, filters and groups."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.configfile.reading import problems_of
from corral.configimport.imported import Imported, ImportedModel, ImportFileError
from corral.configimport.llamaswap import read_llama_swap
from corral.configimport.tomltext import create_command, modelfile, toml_text
from corral.configimport.yamltext import read_yaml
from corral.inference.sectioncheck import check_sections

FOLDER = Path(__file__).parent
EXAMPLE = FOLDER / "llama-swap.yaml"
ENV = {"MODELS_DIR": "/models", "HOME": "/home/me"}


def read(text: str, **env: str) -> Imported:
    return read_llama_swap(text, Path("/etc/swap"), {**ENV, **env})


def only_model(cmd: str, more: str = "") -> ImportedModel:
    """The model of a file with one, whose command is quoted here."""
    found = read(f"models:\n  m:\n    cmd: '{cmd}'\n{more}")
    assert not found.left_out, found.left_out
    return found.models[0]


def section(cmd: str) -> dict[str, Any]:
    return dict(only_model(f"llama-server -m a.gguf {cmd}").section())


def notes(cmd: str) -> list[str]:
    return only_model(f"llama-server -m a.gguf {cmd}").notes


def parsed(found: Imported) -> dict[str, Any]:
    """The file that is written, which has to be one that a server takes."""
    text = toml_text(found, "x.yaml", "corral")
    assert problems_of(Path("config.toml"), text, {}) == []
    return tomllib.loads(text)


def test_a_whole_file() -> None:
    found = read(EXAMPLE.read_text(), LLAMA_SWAP_KEY="sk-secret")
    tables = parsed(found)
    assert tables["scheduler"] == {"keep_alive": "1800s", "load_timeout": "300s", "preload": ["embeddings"]}
    assert tables["auth"] == {"mode": "on"} and tables["log"] == {"debug": -1}
    models = tables["models"]
    assert models["qwen3-30b-a3b"] == {
        "keep_alive": "600s",
        "num_ctx": 4096,
        "num_parallel": 2,
        "set": {"temperature": 0.0, "top_k": 20, "top_p": 0.95, "min_p": 0.0},
        "strip": ["top_k", "repeat_penalty"],
        "engine": {"flash_attention": "auto", "kv_cache_type": "q8_0"},
        "aliases": ["gpt-4o", "gpt-4o-mini", "chat"],
    }
    assert models["Qwen-Coder-fast"]["aliases"][:3] == ["Qwen Coder (fast)", "coder", "openai/gpt-5-codex"]
    assert models["Qwen-Coder-fast"]["device"] == "gpu0"
    assert models["Qwen-Coder-fast-low"]["set"] == {"temperature": 0, "num_predict": 8, "seed": 7}
    assert models["embeddings-in-docker"] == {"keep_alive": "-1", "aliases": ["text-embedding-3-small"]}
    files = {model.name: modelfile(model) for model in found.models}
    assert files["embeddings-in-docker"] == files["embeddings"] == "FROM /models/embed.gguf\n"
    assert files["Qwen-Coder-fast-low"] == "FROM Qwen-Coder-fast\n"
    assert [name for name, _ in found.left_out] == ["whisper", "vllm-70b"]
    groups = {group.name: (group.members, group.mode) for group in found.groups}
    assert groups == {
        "chat": (("qwen3-30b-a3b", "Qwen-Coder-fast"), "one-at-a-time"),
        "small": (("embeddings", "embeddings-in-docker"), "pinned"),
    }
    text = toml_text(found, "x.yaml", "corral")
    assert "sk-" not in text and "OPENROUTER" not in text
    assert "# whisper is left out: its command runs 'whisper-server' and not llama-server." in text
    assert "# peers: Corral does not pass requests on to other servers" in text


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ("-c 8192", {"num_ctx": 8192}),
        ("--ctx-size 8192 --parallel 4", {"num_ctx": 2048, "num_parallel": 4}),
        ("-c 8192 -np 4 --kv-unified", {"num_ctx": 8192, "num_parallel": 4}),
        ("-c 0 -np -1", {}),
        ("-ngl 99", {}),
        ("-ngl all", {}),
        ("-ngl 0", {"device": "cpu"}),
        ("--n-gpu-layers 20", {"engine": {"num_gpu": 20}}),
        ("--device CUDA1", {"device": "gpu1"}),
        ("-dev none", {"device": "cpu"}),
        ("-mg 1 -ts 3,1", {"engine": {"main_gpu": 1, "tensor_split": [3.0, 1.0]}}),
        ("-fa", {"engine": {"flash_attention": True}}),
        ("-fa off --no-mmap", {"engine": {"flash_attention": False, "use_mmap": False}}),
        ("-fa --mlock -t 8", {"engine": {"flash_attention": True, "num_thread": 8}}),
        ("-ctk q8_0 -ctv q4_0", {"engine": {"kv_cache_type": "q8_0"}}),
        ("--cache-ram -1 -b 512", {"engine": {"cache_ram": "auto", "num_batch": 512}}),
        ("-md d.gguf --draft-max 8", {"engine": {"draft_num_predict": 8}, "draft": "/etc/swap/d.gguf"}),
        ("--temp 0.5 --seed -1 -n -2", {"set": {"temperature": 0.5, "seed": -1, "num_predict": -1}}),
        ("--presence-penalty -1.5", {"set": {"presence_penalty": -1.5}}),
        ("--temp=0.25", {"set": {"temperature": 0.25}}),
        ("--jinja --temp 1", {"set": {"temperature": 1.0}}),
        ("-a big,huge", {"aliases": ["big", "huge"]}),
    ],
)
def test_options(options: str, values: dict[str, Any]) -> None:
    assert section(options) == values


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--temp hot", "--temp hot: a number was expected"),
        ("-c -5", "-c -5: a whole number"),
        ("-c 99999999999999999999999", "a whole number"),
        ("--repeat-penalty 0", "a number above 0"),
        ("--temp nan", "a number was expected"),
        ("-ctk q3_k", "one of f32"),
        ("--override-tensor exps=CPU", "--override-tensor exps=CPU: Corral cannot place single tensors"),
        ("--mirostat 2", "--mirostat 2: Corral does not have this sampler"),
        ("--something-new 5", "--something-new 5: Corral does not know this option"),
        ("--api-key sk-hidden", "--api-key ...: keys are made by corral key create"),
        ("-hft hf_hidden", "-hft ...: set HF_TOKEN"),
        ("--new-password hidden", "--new-password ...: Corral does not know this option"),
        ("--api-key-file keys.txt", "--api-key-file keys.txt: keys are made by"),
        ("--chat-template-kwargs {}", 'requests choose: "think"'),
        ("--pooling mean", "the model"),
        ("--lora a.gguf,b.gguf", "one adapter"),
        ("-c 0", "Corral chooses one by memory"),
    ],
)
def test_options_without_a_counterpart(options: str, words: str) -> None:
    found = notes(options)
    assert len(found) == 1 and words in found[0], found
    assert "hidden" not in found[0]


def test_what_is_so_anyway_is_not_mentioned() -> None:
    plain = (
        "--host 0.0.0.0 --port 9 --jinja -cb --metrics --no-webui --slots --embeddings --no-warmup -ub 512"
    )
    assert notes(plain) == [] and section(plain) == {}


@pytest.mark.parametrize(
    ("cmd", "file"),
    [
        ("llama-server -m /a/b.gguf", "FROM /a/b.gguf\n"),
        ("/opt/llama-server-ec9e0301 --model b.gguf", "FROM /etc/swap/b.gguf\n"),
        ("env X=1 nice -n 5 llama-server -m ~/b.gguf", None),
        ('sh -c "exec llama-server -m /a/b.gguf"', "FROM /a/b.gguf\n"),
        ("llama-server -m /a/b.gguf --mmproj /a/p.gguf", "FROM /a/b.gguf\nFROM /a/p.gguf\n"),
        ("llama-server -m /a/b.gguf --lora /a/l.gguf", "FROM /a/b.gguf\nADAPTER /a/l.gguf\n"),
        ("llama-server -hf ggml-org/x-GGUF:Q8_0", "FROM hf.co/ggml-org/x-GGUF:Q8_0\n"),
        ("llama-server -hf ggml-org/x-GGUF -hff y.gguf", "FROM hf.co/ggml-org/x-GGUF:y.gguf\n"),
        ('llama-server -m "/a/with blank.gguf"', "FROM /a/with blank.gguf\n"),
        ("podman run -v /m:/models ghcr.io/ggml-org/llama.cpp:server -m /models/b.gguf", "FROM /m/b.gguf\n"),
        ("docker run --rm --mount type=bind,source=/m,target=/x --entrypoint /app/llama-server img -m /x/b.gguf",
         "FROM /m/b.gguf\n"),
    ],
)  # fmt: skip
def test_commands(cmd: str, file: str | None) -> None:
    found = modelfile(only_model(cmd))
    assert found == (file or f"FROM {Path('~/b.gguf').expanduser()}\n")


@pytest.mark.parametrize(
    ("cmd", "reason"),
    [
        ("vllm serve x", "runs 'vllm'"),
        ("", "is empty"),
        ("docker run vllm/vllm-openai --model x", "runs the image"),
        ("llama-server --port 1", "names no model file"),
        ("llama-server -m ${nothing}", "the macro nothing"),
        ("llama-server -m ${env.NOT_SET}", "NOT_SET, which is not set"),
        ('llama-server -m "x', "no closing quotation"),
        ("docker ps", "does not run an image"),
    ],
)
def test_models_that_are_left_out(cmd: str, reason: str) -> None:
    found = read(f"models:\n  m: {{cmd: '{cmd}'}}\n  n: {{cmd: llama-server -m a.gguf}}")
    assert [model.name for model in found.models] == ["n"]
    ((name, text),) = found.left_out
    assert name == "m" and reason in text
    parsed(found)


def test_macros_in_macros_of_the_model_over_those_of_the_file() -> None:
    found = read("""
macros: {a: 1, b: "-c ${a}024", loop: "${pool}", pool: "${loop}", deep: "${b} ${b}"}
models:
  one: {cmd: "llama-server -m ${MODEL_ID}.gguf ${b}", macros: {a: 2}}
  two: {cmd: "llama-server -m ${MODEL_ID}.gguf ${b}"}
  three: {cmd: "llama-server -m ${loop}"}
""")
    assert [model.values["num_ctx"] for model in found.models] == [2024, 1024]
    assert modelfile(found.models[0]) == "FROM /etc/swap/one.gguf\n"
    assert "without an end" in found.left_out[0][1]


def test_macros_that_grow() -> None:
    macros = "".join(f"  m{i + 1}: '{f'${{m{i}}}' * 10}'\n" for i in range(9))
    found = read(f"macros:\n  m0: xxxxxxxxxx\n{macros}models: {{m: {{cmd: 'llama-server -m ${{m9}}'}}}}")
    assert "64 KiB" in found.left_out[0][1]


def test_times() -> None:
    text = "models: {{a: {{cmd: llama-server -m a, ttl: {0}}}}}"
    assert read(text.format(0)).models[0].values == {"keep_alive": "-1"}
    assert read(text.format(5)).models[0].values == {"keep_alive": "5s"}
    assert read(text.format(-1)).models[0].values == {}
    assert read(text.format("soon")).models[0].notes == ["ttl: whole seconds were expected"]
    assert read(text.format(-1)).settings["scheduler"] == {"keep_alive": "-1"}  # as llama-swap has it


def test_names_stay_usable() -> None:
    """Names that are not possible here, or are the same here, become aliases of others."""
    found = read("""
models:
  "Big Model": {cmd: llama-server -m a}
  big-model: {cmd: llama-server -m b}
  Qwen: {cmd: llama-server -m c, aliases: [Big Model, "a,b", x]}
  qwen: {cmd: llama-server -m d, aliases: [x, 7]}
  hf.co/x/y: {cmd: llama-server -m e}
  ":cloud": {cmd: llama-server -m f}
  gpt:cloud: {cmd: llama-server -m g}
""")
    names = {model.asked: (model.name, model.aliases) for model in found.models}
    assert names["Big Model"] == ("Big-Model", ["Big Model"])
    assert names["big-model"][0] == "big-model-2"
    assert names["Qwen"] == ("Qwen", ["x"])
    assert names["qwen"] == ("qwen-2", ["7"])
    assert names["hf.co/x/y"] == ("hf.co-x-y", ["hf.co/x/y"])
    assert names["gpt:cloud"] == ("gpt-cloud", ["gpt:cloud"])
    (qwen,) = [model for model in found.models if model.asked == "Qwen"]
    assert any("another model has this name" in note for note in qwen.notes)
    assert any("commas" in note for note in qwen.notes)
    parsed(found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not have models"),
        ("[1, 2]", "does not have models"),
        ("models: [a]", "does not have models"),
        ("models: {a: b", "line 1"),
        ("a: b\n c: d", "line 2"),
        ("a: &a [*a]\nmodels: {}", "nested too deeply"),
        ("models: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("[" * 100_000, "nested too deeply"),
        ("x: [" + "1," * 50_000 + "]", "more than"),
        ("x" * 600_000, "larger than"),
        (
            "a: &a [" + "x," * 99 + "]\nb: &b [" + "*a," * 99 + "]\nc: [" + "*b," * 99 + "]",
            "that anchors repeat",
        ),
        ("a: &a {b: 1}\nc: {<<: [" + "*a," * 99 + "]}", "too many mappings"),
        ('models: {"\\ud800": 1}', "not valid Unicode"),
        ("models: !!set {a}", "not expected"),
        ("\x00", "not allowed"),
    ],
)
def test_files_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ImportFileError, match=reason):
        read(text)


def test_yaml_as_go_reads_it() -> None:
    """Not as YAML 1.1 does: names of models stay what they are."""
    assert read_yaml("{on: yes, 1:20: 2024-01-01, 3: 0x10, 4: 1_000, 5: ~, 6: true, 7: 1e3, 8: .5}") == {
        "on": "yes",
        "1:20": "2024-01-01",
        "3": "0x10",
        "4": "1_000",
        "5": None,
        "6": True,
        "7": 1000.0,
        "8": 0.5,
    }


HOSTILE = 'x"\n[auth]\nmode = "off" # \u2028 \x7f \x1b[2J \'$(touch /tmp/x)\' ${env:HOME}'


def test_nothing_breaks_out_of_its_place() -> None:
    """Texts of the file in every place where one can be: no line of it becomes one of ours, nor a command."""
    text = _quoted(HOSTILE)
    found = read(f"""
{text}: 1
apiKeys: [{text}]
models:
  {text}: {{cmd: "llama-server -m 'a b'", aliases: [{text}], env: [{text}], name: {text}, ttl: {text}}}
  b: {{cmd: {text}}}
  c: {{cmd: "llama-server -m c", filters: {{stripParams: {text}, setParams: {{{text}: {text}, stop: {text}}}}}}}
  d: {{cmd: "llama-server -m c", filters: {{setParamsByID: {{{text}: {{temperature: 0}}}}}}}}
  e: {{cmd: {_quoted(f"llama-server -m c --temp {_quoted(HOSTILE)} -md {_quoted(HOSTILE)}")}}}
groups: {{{text}: {{members: [{text}, c]}}}}
hooks: {{on_startup: {{preload: [{text}]}}}}
""")
    tables = parsed(found)
    assert tables["auth"] == {"mode": "on"}
    whole = toml_text(found, HOSTILE, "corral")
    assert all(line.isprintable() for line in whole.splitlines() if line.startswith("#"))
    for model in found.models:
        assert create_command(model, "corral").count("\n") == 0 or "\n" in modelfile(model)


def _quoted(text: str) -> str:
    """A text as YAML has it between double quotes."""
    return '"' + "".join(c if c.isalnum() or c in " /-." else f"\\U{ord(c):08x}" for c in text) + '"'


_WORDS = st.one_of(
    st.sampled_from([
        "-m", "a.gguf", "-hf", "x/y:z", "-c", "0", "-1", "4096", "-np", "--temp", "nan", "1e400", "-ngl", "--lora",
        "--repeat-penalty", "--seed", "-ts", "1,2", "-fa", "--alias", "a,,b", "--cache-ram", "-md", "--top-k", "-n",
        "${env:X}", "--draft-max", "--fit-target", "1,2,3", "--device", "CUDA0", "-ctk", "q8_0",
    ]),
    st.text(max_size=8),
)  # fmt: skip
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=6), part, max_size=4),
    max_leaves=8,
)
_NAMES = st.one_of(st.text(max_size=12), st.sampled_from(["qwen", "Qwen", "a/b", "x:cloud", "a,b", " ", "-"]))
_PARAMS = st.dictionaries(
    st.sampled_from(["temperature", "top_k", "stop", "seed", "max_tokens", "repeat_penalty", "model", "x"]),
    _VALUES,
    max_size=4,
)
_MODELS = st.dictionaries(
    _NAMES,
    st.fixed_dictionaries(
        {"cmd": st.lists(_WORDS, max_size=12).map(lambda words: "llama-server -m f " + " ".join(words))},
        optional={
            "ttl": _VALUES,
            "aliases": st.lists(_NAMES, max_size=3) | _VALUES,
            "env": _VALUES,
            "name": _VALUES,
            "filters": st.fixed_dictionaries(
                {},
                optional={
                    "stripParams": st.sampled_from(["temperature, seed", "x"]) | _VALUES,
                    "setParams": _PARAMS | _VALUES,
                    "setParamsByID": st.dictionaries(_NAMES, _PARAMS, max_size=3) | _VALUES,
                },
            )
            | _VALUES,
        },
    )
    | _VALUES,
    max_size=4,
)


@given(
    models=_MODELS,
    others=st.dictionaries(
        st.sampled_from(
            [
                "globalTTL",
                "healthCheckTimeout",
                "logLevel",
                "apiKeys",
                "groups",
                "matrix",
                "hooks",
                "macros",
                "peers",
            ]
        )
        | st.text(max_size=6),
        _VALUES,
        max_size=4,
    ),
)
def test_whatever_is_in_it_the_result_is_a_file_that_a_server_takes(
    models: dict[str, Any], others: dict[str, Any]
) -> None:
    import yaml

    text = yaml.safe_dump({**others, "models": models}, allow_unicode=True)
    try:
        found = read(text)
    except ImportFileError:
        return
    written = toml_text(found, "x", "corral")
    assert problems_of(Path("config.toml"), written, {}) == []
    written.encode()
    path = Path(os.devnull)
    from corral.configfile.reading import _FileReader, _merged

    check_sections(_merged([_FileReader(path, written, {})]).sections)
