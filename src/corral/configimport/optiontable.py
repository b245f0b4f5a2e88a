"""What the options of llama-server (b11549) mean here: keys of a model's section, nothing, or a note with the reason.

The names are those of its command line, of its presets (without dashes), and its variables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from corral.configimport.optionvalues import (
    OptionValueError,
    cache_ram,
    first_number,
    flash_attention,
    fraction,
    inverted,
    number,
    positive,
    shares,
    switch,
)
from corral.configimport.serveroptions import ServerOptions, hub_name

_GPU = re.compile(r"(?:CUDA|Vulkan|ROCm|SYCL|HIP|MTL|Metal)([0-9]{1,3})", re.IGNORECASE)
# What people write for "all layers".
_ALL_LAYERS = 99
_CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
# Options whose values are not repeated, also those that are not known; a file's name is no secret.
_SECRET = re.compile(r"^hft$|key|token|passw|secret", re.IGNORECASE)
_AUTOMATIC = "Corral does this by itself"
_MAX_SHOWN = 80
_INT32 = 2**31 - 1


def read_words(options: ServerOptions, words: Sequence[str]) -> None:
    """Take the options of a command line."""
    for name, value in _pairs(words):
        take(options, name, value)


def take(options: ServerOptions, name: str, value: str) -> None:
    """Take an option by its name without dashes. A switch that is given without a value has an empty one."""
    option = _BY_NAME.get(name)
    try:
        if option is None:
            raise OptionValueError("Corral does not know this option of llama-server")
        option.apply(options, value)
    except OptionValueError as exc:
        options.model.note(f"{_shown(name, value)}: {exc}")


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names without dashes, and values; what begins like an option is no value, unless it is a number."""
    i = 0
    while i < len(words):
        name, mark, value = words[i].partition("=")
        i += 1
        if not name.startswith("-"):
            continue
        has_value = i < len(words) and (not words[i].startswith("-") or _is_number(words[i]))
        if not mark and has_value and not _is_bare(name.lstrip("-")):
            value = words[i]
            i += 1
        yield name.lstrip("-"), value


def _is_number(word: str) -> bool:
    return re.fullmatch(r"-[0-9.][0-9.,:e-]*", word) is not None


def _is_bare(name: str) -> bool:
    option = _BY_NAME.get(name)
    return option is not None and option.is_switch


@dataclass(frozen=True, slots=True)
class _Option:
    apply: Callable[[ServerOptions, str], None]
    is_switch: bool = False


def _set(name: str, read: Callable[[str], object]) -> _Option:
    """A sampling option, which requests can override."""

    def apply(options: ServerOptions, value: str) -> None:
        options.model.options[name] = read(value)

    return _Option(apply)


def _engine(name: str, read: Callable[[str], object], *, is_switch: bool = False) -> _Option:
    def apply(options: ServerOptions, value: str) -> None:
        options.model.engine[name] = read(value)

    return _Option(apply, is_switch)


def _note(reason: str, *, is_switch: bool = False) -> _Option:
    """An option without a counterpart."""

    def apply(_options: ServerOptions, value: str) -> None:
        if not is_switch or switch(value):
            raise OptionValueError(reason)

    return _Option(apply, is_switch)


def _nothing(*, is_switch: bool = False) -> _Option:
    """An option whose effect is that of Corral, or that is about a server of its own."""
    return _Option(lambda _options, _value: None, is_switch)


def _shown(name: str, value: str) -> str:
    dashes = "-" if len(name) < 4 and name.isalpha() else "--"
    if value and _SECRET.search(name) and not name.lower().endswith("file"):
        value = "..."
    return f"{dashes}{name}{f' {value[:_MAX_SHOWN]}' if value else ''}"


def _model_path(options: ServerOptions, value: str) -> None:
    if not value or "\n" in value:
        raise OptionValueError("the path of a file was expected")
    options.model_path = options.path(value)


def _context(options: ServerOptions, value: str) -> None:
    options.num_ctx = number(value, high=1 << 26)
    if not options.num_ctx:
        options.model.note("-c 0, the context of the model: Corral chooses one by memory; num_ctx sets it")


def _parallel(options: ServerOptions, value: str) -> None:
    options.num_parallel = max(number(value, low=-1, high=256), 0)


def _unified(options: ServerOptions, value: str) -> None:
    options.is_unified = switch(value)


def _layers(options: ServerOptions, value: str) -> None:
    if value in ("auto", "all", "-1"):
        return
    layers = number(value, low=-2, high=1 << 20)
    if layers == 0:
        options.model.values["device"] = "cpu"
    elif 0 < layers < _ALL_LAYERS:
        options.model.engine["num_gpu"] = layers


def _devices(options: ServerOptions, value: str) -> None:
    if value.lower() in ("none", "cpu"):
        options.model.values["device"] = "cpu"
    elif match := _GPU.fullmatch(value):
        options.model.values["device"] = f"gpu{match[1]}"
    else:
        raise OptionValueError("a model has one device here, or chooses by itself; see tensor_split")


def _cache_type(options: ServerOptions, value: str) -> None:
    if value.lower() not in _CACHE_TYPES:
        raise OptionValueError(f"one of {', '.join(_CACHE_TYPES)} was expected")
    options.cache_types = (*options.cache_types, value.lower())


def _load_mode(options: ServerOptions, value: str) -> None:
    if value not in ("auto", "none", "mmap", "mlock", "mmap+mlock", "dio"):
        raise OptionValueError("it is not known")
    if value in ("none", "mlock"):
        options.model.engine["use_mmap"] = False
    if "mlock" in value:
        options.model.note("mlock: Corral does not lock models into memory")


def _projector(options: ServerOptions, value: str) -> None:
    options.projectors = (options.path(value),)


def _adapter(options: ServerOptions, value: str) -> None:
    options.adapters += tuple(options.path(part) for part in value.split(",") if part)


def _scaled_adapter(options: ServerOptions, value: str) -> None:
    for part in value.split(","):
        path, _, scale = part.rpartition(":")
        if path:
            options.adapters += (options.path(path),)
            if scale not in ("1", "1.0"):
                options.model.note(f"the strength {scale[:20]} of an adapter: here it has that of its file")


def _repository(options: ServerOptions, value: str) -> None:
    options.repository = value


def _repository_file(options: ServerOptions, value: str) -> None:
    options.repository_file = value


def _draft(options: ServerOptions, value: str) -> None:
    options.draft = options.path(value)


def _draft_repository(options: ServerOptions, value: str) -> None:
    options.draft = hub_name(value, "")
    options.model.note(f"the draft model has to be there: corral pull {options.draft}")


def _speculation(options: ServerOptions, value: str) -> None:
    options.model.engine["speculation"] = value != "none"


def _alias(options: ServerOptions, value: str) -> None:
    options.model.aliases += [part.strip() for part in value.split(",") if part.strip()]


def _idle(options: ServerOptions, value: str) -> None:
    seconds = number(value, low=-1)
    options.model.values["keep_alive"] = f"{seconds}s" if seconds > 0 else "-1"


def _pooling(options: ServerOptions, value: str) -> None:
    if value != "rank":
        options.model.note(f"--pooling {value[:20]}: Corral takes the pooling that the model's file names")


_TABLE: tuple[tuple[str, _Option], ...] = (
    # The model.
    ("m model LLAMA_ARG_MODEL", _Option(_model_path)),
    ("hf hfr hf-repo LLAMA_ARG_HF_REPO", _Option(_repository)),
    ("hff hf-file LLAMA_ARG_HF_FILE", _Option(_repository_file)),
    ("mm mmproj LLAMA_ARG_MMPROJ", _Option(_projector)),
    ("lora", _Option(_adapter)),
    ("lora-scaled", _Option(_scaled_adapter)),
    ("md model-draft spec-draft-model LLAMA_ARG_SPEC_DRAFT_MODEL LLAMA_ARG_MODEL_DRAFT", _Option(_draft)),
    (
        "hfd hfrd hf-repo-draft spec-draft-hf LLAMA_ARG_SPEC_DRAFT_HF_REPO LLAMA_ARG_HFD_REPO",
        _Option(_draft_repository),
    ),
    ("a alias LLAMA_ARG_ALIAS", _Option(_alias)),
    # How it is loaded.
    ("c ctx-size LLAMA_ARG_CTX_SIZE", _Option(_context)),
    ("np parallel LLAMA_ARG_N_PARALLEL", _Option(_parallel)),
    ("kvu kv-unified LLAMA_ARG_KV_UNIFIED", _Option(_unified, is_switch=True)),
    ("ngl gpu-layers n-gpu-layers LLAMA_ARG_N_GPU_LAYERS", _Option(_layers)),
    ("dev device LLAMA_ARG_DEVICE", _Option(_devices)),
    ("mg main-gpu LLAMA_ARG_MAIN_GPU", _engine("main_gpu", lambda text: number(text, high=1023))),
    ("ts tensor-split LLAMA_ARG_TENSOR_SPLIT", _engine("tensor_split", shares)),
    ("b batch-size LLAMA_ARG_BATCH", _engine("num_batch", lambda text: number(text, low=1, high=1 << 20))),
    (
        "t threads LLAMA_ARG_THREADS",
        _engine("num_thread", lambda text: max(number(text, low=-1, high=1 << 16), 0)),
    ),
    ("fa flash-attn LLAMA_ARG_FLASH_ATTN", _engine("flash_attention", flash_attention)),
    ("ctk cache-type-k LLAMA_ARG_CACHE_TYPE_K", _Option(_cache_type)),
    ("ctv cache-type-v LLAMA_ARG_CACHE_TYPE_V", _Option(_cache_type)),
    ("mmap LLAMA_ARG_MMAP", _engine("use_mmap", switch, is_switch=True)),
    ("no-mmap LLAMA_ARG_NO_MMAP", _engine("use_mmap", inverted, is_switch=True)),
    ("lm load-mode LLAMA_ARG_LOAD_MODE", _Option(_load_mode)),
    ("fit LLAMA_ARG_FIT", _engine("fit", switch)),
    ("fitt fit-target LLAMA_ARG_FIT_TARGET", _engine("fit_target_mib", first_number)),
    ("cram cache-ram LLAMA_ARG_CACHE_RAM", _engine("cache_ram", cache_ram)),
    (
        "draft draft-n draft-max spec-draft-n-max LLAMA_ARG_SPEC_DRAFT_N_MAX LLAMA_ARG_DRAFT_MAX",
        _engine("draft_num_predict", lambda text: number(text, high=128)),
    ),
    ("spec-type LLAMA_ARG_SPEC_TYPE", _Option(_speculation)),
    ("sleep-idle-seconds LLAMA_ARG_SLEEP_IDLE_SECONDS", _Option(_idle)),
    # How it answers.
    ("temp temperature LLAMA_ARG_TEMPERATURE", _set("temperature", fraction)),
    ("top-k LLAMA_ARG_TOP_K", _set("top_k", lambda text: number(text, high=_INT32))),
    ("top-p LLAMA_ARG_TOP_P", _set("top_p", fraction)),
    ("min-p LLAMA_ARG_MIN_P", _set("min_p", fraction)),
    ("typical typical-p", _set("typical_p", fraction)),
    ("s seed", _set("seed", lambda text: number(text, low=-1, high=1 << 32))),
    (
        "n predict n-predict LLAMA_ARG_N_PREDICT",
        _set("num_predict", lambda text: max(number(text, low=-2, high=_INT32), -1)),
    ),
    ("keep", _set("num_keep", lambda text: number(text, low=-1, high=_INT32))),
    ("repeat-last-n", _set("repeat_last_n", lambda text: number(text, low=-1, high=_INT32))),
    ("repeat-penalty LLAMA_ARG_REPEAT_PENALTY", _set("repeat_penalty", positive)),
    ("presence-penalty LLAMA_ARG_PRESENCE_PENALTY", _set("presence_penalty", fraction)),
    ("frequency-penalty LLAMA_ARG_FREQUENCY_PENALTY", _set("frequency_penalty", fraction)),
    # What Corral does as well, or what is about the process of llama-server.
    (
        "jinja metrics slots props cb cont-batching no-webui no-ui no-warmup embedding embeddings reranking rerank "
        "offline no-cache-prompt cache-prompt perf no-perf kv-offload context-shift no-context-shift no-slots "
        "check-tensors log-disable log-timestamps log-prefix log-jsonl v verbose escape no-escape repack op-offload "
        "LLAMA_ARG_JINJA LLAMA_ARG_ENDPOINT_METRICS LLAMA_ARG_CONT_BATCHING LLAMA_ARG_EMBEDDINGS LLAMA_ARG_RERANKING",
        _nothing(is_switch=True),
    ),
    (
        "host port path to timeout threads-http api-prefix log-file log-colors lv verbosity log-verbosity "
        "models-dir models-max models-preset poll ub ubatch-size tb threads-batch reuse-port fit-ctx fitc "
        "LLAMA_ARG_HOST LLAMA_ARG_PORT LLAMA_ARG_UBATCH LLAMA_ARG_TIMEOUT LLAMA_ARG_THREADS_HTTP",
        _nothing(),
    ),
    ("pooling LLAMA_ARG_POOLING", _Option(_pooling)),
    # What has no counterpart.
    ("api-key LLAMA_API_KEY", _note("keys are made by corral key create")),
    ("api-key-file LLAMA_ARG_API_KEY_FILE", _note("keys are made by corral key create")),
    ("ssl-key-file LLAMA_ARG_SSL_KEY_FILE", _note("see tls.key")),
    ("ssl-cert-file LLAMA_ARG_SSL_CERT_FILE", _note("see tls.cert")),
    ("hf-token hft HF_TOKEN", _note("set HF_TOKEN for corral serve")),
    ("mu model-url LLAMA_ARG_MODEL_URL", _note("download the file, and create the model from it")),
    ("dr docker-repo LLAMA_ARG_DOCKER_REPO", _note("Corral does not pull from Docker Hub")),
    ("mmproj-url mmu", _note("download the file, and name it in a second FROM")),
    (
        "no-mmproj no-mmproj-auto",
        _note("a model without images is one that is created from the weights alone", is_switch=True),
    ),
    ("no-mmproj-offload", _note("Corral decides by itself where the projector is", is_switch=True)),
    ("mlock", _note("Corral does not lock models into memory", is_switch=True)),
    ("sm split-mode", _note("Corral splits by layers, and only a model that does not fit into one GPU")),
    ("no-kv-offload nkvo", _note("the cache is where the layers are", is_switch=True)),
    ("swa-full", _note("Corral decides by itself how much of the cache is kept", is_switch=True)),
    ("cpu-moe cmoe", _note("what does not fit into a GPU goes to the CPU by itself", is_switch=True)),
    ("n-cpu-moe ncmoe", _note("what does not fit into a GPU goes to the CPU by itself")),
    ("override-tensor ot", _note("Corral cannot place single tensors")),
    ("override-kv", _note("change the metadata in the file")),
    ("rpc", _note("Corral does not use engines of other machines")),
    ("numa", _note("start corral serve under numactl")),
    (
        "prio prio-batch C cpu-mask Cr cpu-range cpu-strict Cb cpu-mask-batch Crb",
        _note("Corral chooses the cores by itself"),
    ),
    (
        "rope-scaling rope-scale rope-freq-base rope-freq-scale yarn-orig-ctx yarn-ext-factor yarn-attn-factor "
        "yarn-beta-slow yarn-beta-fast",
        _note("positions are scaled as the model's file says"),
    ),
    ("chat-template", _note("the template of the model is used; TEMPLATE of a Modelfile replaces it")),
    ("chat-template-file", _note("the template of the model is used; TEMPLATE of a Modelfile replaces it")),
    ("chat-template-kwargs", _note('requests choose: "think" for thinking and its effort')),
    ("reasoning-format", _note("thinking is always apart from the answer")),
    ("reasoning-budget", _note('requests choose: "think": false, or a budget on /v1/messages')),
    ("reasoning rea", _note('requests choose: "think"')),
    ("grammar", _note("requests choose: format or response_format")),
    ("grammar-file", _note("requests choose: format or response_format")),
    ("json-schema j", _note("requests choose: format or response_format")),
    ("json-schema-file jf", _note("requests choose: format or response_format")),
    ("ignore-eos", _note("answers end where the model ends them", is_switch=True)),
    ("logit-bias l", _note("requests choose: logit_bias")),
    (
        "samplers sampler-seq sampling-seq top-nsigma top-n-sigma xtc-probability xtc-threshold dry-multiplier "
        "dry-base dry-allowed-length dry-penalty-last-n dry-sequence-breaker dynatemp-range dynatemp-exp mirostat "
        "mirostat-lr mirostat-ent adaptive-target adaptive-decay",
        _note("Corral does not have this sampler"),
    ),
    ("backend-sampling bs", _note("Corral does not have it", is_switch=True)),
    ("cache-reuse", _note("Corral reuses what begins alike, by itself")),
    ("slot-save-path", _note("Corral keeps computed prompts by itself")),
    ("slot-prompt-similarity sps", _note("Corral chooses slots by itself")),
    (
        "control-vector control-vector-scaled control-vector-layer-range",
        _note("Corral does not have control vectors"),
    ),
    (
        "draft-min draft-n-min spec-draft-n-min draft-p-min spec-draft-p-min ngld gpu-layers-draft spec-draft-ngl "
        "devd device-draft ctkd cache-type-k-draft ctvd cache-type-v-draft cd ctx-size-draft td threads-draft",
        _note(_AUTOMATIC),
    ),
    ("spec-default", _note(_AUTOMATIC, is_switch=True)),
    ("stop-timeout", _note("Corral ends an engine as soon as nobody uses it")),
    ("sse-ping-interval", _note("streams of Corral need none")),
    ("tools", _note("Corral does not run tools of llama-server")),
)
_BY_NAME: dict[str, _Option] = {name: option for names, option in _TABLE for name in names.split()}
