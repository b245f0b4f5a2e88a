"""The command table: one entry per command, in the order of the help.

A new command is an entry here and a module with its function, nothing else. The module is not imported before the
command runs.
"""

from __future__ import annotations

from corral.cli.frame.flags import PROGRAM, Command, Flag

_JSON = Flag("json", "Print the API's JSON", is_own=True)
_WATCH = Flag("watch", "Look again every second, and show who uses them or waits", short="w", is_own=True)
_YES = Flag("yes", "Skip the confirmation", short="y", is_own=True)
_INSECURE = Flag("insecure", "Use an insecure registry")
_VERBOSE = Flag("verbose", "Show timings for response")
_NO_WRAP = Flag("nowordwrap", "Don't wrap words to the next line automatically")
_CREATE_FLAGS = (
    Flag("draft-quantize", "Quantize draft model to this level", "string"),
    Flag("experimental", "Enable experimental safetensors model creation"),
    Flag("file", "Name of the Modelfile", "string", "f", default="Modelfile"),
    Flag("imatrix", "Importance matrix for quantization (a file from llama-imatrix)", "string", is_own=True),
    Flag("quantize", "Quantize model to this level (e.g. q4_K_M)", "string", "q"),
    Flag(
        "reference",
        "Reference large local files in place instead of copying them into the store",
        is_own=True,
    ),
)
_SHOW_FLAGS = (
    Flag("license", "Show license of a model"),
    Flag("modelfile", "Show Modelfile of a model"),
    Flag("parameters", "Show parameters of a model"),
    Flag("system", "Show system message of a model"),
    Flag("template", "Show template of a model"),
    Flag("verbose", "Show detailed model information", short="v"),
    _JSON,
)
_LIST_FLAGS = (
    _JSON,
    Flag("sort", "Sort by name, size (largest first) or modified (newest first)", "string", is_own=True),
)
_RUN_FLAGS = (
    Flag("dimensions", "Truncate output embeddings to specified dimension (embedding models only)", "int"),
    Flag("format", "Response format (e.g. json)", "string"),
    Flag("hidethinking", "Hide thinking output (if provided)"),
    _INSECURE,
    Flag("keepalive", "Duration to keep a model loaded (e.g. 5m)", "string"),
    _NO_WRAP,
    Flag("think", "Enable thinking mode: true/false or high/medium/low for supported models", "think"),
    Flag(
        "truncate",
        "For embedding models: truncate inputs exceeding context length (default: true). "
        "Set --truncate=false to error instead",
    ),
    _VERBOSE,
    Flag("markdown", "Render Markdown in responses on a terminal", is_own=True),
    Flag("serve", "Start a server in the background if none is running", is_own=True),
)
_PULL_FLAGS = (
    _INSECURE,
    Flag("all", "Update every model that was pulled from a registry", is_own=True, replaces_words=True),
    Flag("limit-rate", "Maximum download rate in bytes per second, e.g. 500K or 20M", "string", is_own=True),
)
_TOKENIZE_FLAGS = (
    Flag("ids", "Print only the token ids, on one line"),
    Flag("count", "Print the number of tokens"),
    Flag("json", "Print the API's JSON"),
    Flag("special", "Include the special tokens that the model adds around a text"),
)
_EMBED_FLAGS = (
    Flag("dimensions", "Truncate output embeddings to specified dimension", "int"),
    Flag("json", "Print the API's JSON"),
    Flag("truncate", "Truncate texts that exceed the context length (default: true)"),
)
_RERANK_FLAGS = (
    Flag("json", "Print the API's JSON"),
    Flag("raw", "Print the model's raw scores instead of values between 0 and 1"),
    Flag("top-n", "Print only this many of the best documents (default: all)", "int", "n"),
)
_LAUNCH_FLAGS = (
    Flag("config", "Configure without launching"),
    Flag("model", "Model to use", "string"),
    Flag("restore", "Restore an integration to its default profile"),
    Flag("yes", "Automatically answer yes to confirmation prompts", short="y"),
    Flag("undo", "Same as --restore", is_own=True),
)
_BENCH_FLAGS = (
    Flag("concurrency", "Numbers of concurrent requests to measure", "string", "c", default="1,2,4,8"),
    Flag("json", "Print JSON that includes every round"),
    Flag("prompt-tokens", "Prompt length in tokens", "int", default="512"),
    Flag("rounds", "Measured rounds (with --tune 5)", "int", default="3"),
    Flag("seed", "Random seed for the prompts", "int", default="1"),
    Flag("tokens", "Response length in tokens", "int", default="128"),
    Flag("tune", "Try engine settings on this machine and write the best into the configuration file"),
    Flag("yes", "Write them without asking", short="y"),
)

_KEY_FLAGS = (
    Flag("scope", "What a new key is for (default: infer,read)", "strings"),
    Flag("model", 'Models that a new key may use, as in "qwen3*" or "hf.co/*" (default: all)', "strings"),
    Flag("expires", "How long a new key lasts, e.g. 12h or 30d (default: forever)", "string"),
    Flag("rpm", "Requests in any minute", "int"),
    Flag("tpm", "Tokens in any minute, of prompts and answers", "int"),
    Flag("tokens-per-day", "Tokens in a day (UTC)", "int"),
    Flag("max-parallel", "Requests at a time", "int"),
    Flag("max-predict", "Tokens of an answer", "int"),
    Flag("priority", "Class of its requests: interactive, normal or batch (default: normal)", "string"),
    Flag("note", "A note that is kept with a new key", "string"),
    Flag("grace", "How long the old text of a rotated key holds (0: not at all)", "string", default="24h"),
    Flag("json", "Print JSON"),
)

_CLUSTER_FLAGS = (
    Flag("json", "status: print the API's JSON"),
    Flag("head", "start: begin a new cluster, whose head this machine is"),
    Flag("address", "start, join: IP address of this machine, for the others", "string"),
    Flag("interface", "start, join: network interface whose address that is", "string"),
    Flag("port", "start: port of Ray's head (default: 6379)", "int"),
    Flag("ports", "start, join: range of Ray's other ports (default: 20300-20399)", "string"),
    Flag("name", "start, join: name of this machine in the cluster (default: its host name)", "string"),
    Flag("ray-address", "start, join: use the Ray that runs there already, or auto", "string"),
    Flag("every-node", "start: serve on every node of that Ray which offers corral_ram_gb"),
    Flag("token-file", "start, join: file with the token of that Ray", "string"),
    Flag("foreground", "start, join: stay until a signal comes, for systemd and containers"),
)

COMMANDS: tuple[Command, ...] = (
    Command(
        "serve",
        f"Start {PROGRAM.capitalize()}",
        "tools.serve:serve",
        "",
        (
            Flag(
                "tls-self-signed",
                "Speak TLS with a certificate made at the start, to try it out",
                is_own=True,
            ),
            Flag(
                "install-engine",
                "First install an engine for a graphics card that no installed one can use",
                is_own=True,
            ),
        ),
        count=0,
        aliases=("start",),
        needs_server=False,
    ),
    Command("create", "Create a model", "models.create:create", "MODEL", _CREATE_FLAGS, count=1),
    Command("show", "Show information for a model", "models.show:show", "MODEL", _SHOW_FLAGS, count=1),
    Command("run", "Run a model", "conversation.run:run", "MODEL [PROMPT]", _RUN_FLAGS, at_least=1),
    Command("stop", "Stop a running model", "models.listing:stop", "MODEL", count=1),
    Command("pull", "Pull a model from a registry", "models.pull:pull", "MODEL", _PULL_FLAGS, count=1),
    Command("push", "Push a model to a registry", "models.transfer:push", "MODEL", (_INSECURE,), count=1),
    Command("signin", "Sign in to ollama.com", "models.account:signin", count=0, shows_environment=False),
    Command(
        "signout", "Sign out from ollama.com", "models.account:signout", count=0, shows_environment=False
    ),
    Command("list", "List models", "models.listing:list_models", "", _LIST_FLAGS, aliases=("ls",)),
    Command("ps", "List running models", "models.listing:ps", "", (_JSON, _WATCH)),
    Command(
        "top",
        "Show models, memory, requests and their speed, live",
        "top.command:top",
        "",
        (
            Flag("interval", "Seconds between two looks", "string", default="1"),
            Flag("json", "Print the API's JSON, once"),
            Flag("once", "Print one look as text"),
        ),
        count=0,
        is_own=True,
    ),
    Command("cp", "Copy a model", "models.listing:copy", "SOURCE DESTINATION", count=2),
    Command("rm", "Remove a model", "models.rm:remove", "MODEL [MODEL...]", (_YES,), at_least=1),
    Command(
        "launch",
        "Launch a coding agent that uses a model of the server",
        "agents.launch:launch",
        "[INTEGRATION] [-- [EXTRA_ARGS...]]",
        _LAUNCH_FLAGS,
        needs_server=False,
        shows_environment=False,
    ),
    Command(
        "engine",
        "List, install, build and select the inference engine",
        "tools.engine:engine",
        "[list | info [NAME] | install NAME | build [NAME] | use NAME | remove NAME]",
        (
            Flag(
                "arch",
                "build: GPU architectures to compile for, e.g. 90 or gfx1100 (default: the cards here)",
                "string",
            ),
            Flag("clean", "build: begin anew, not where the last build has ended"),
            Flag("index-url", "install: the package index to take the engine from", "string"),
            Flag(
                "jobs",
                "build: parallel compile jobs (default: one per core, as far as memory allows)",
                "int",
                "j",
            ),
            Flag("json", "list, info: print JSON"),
            Flag("no-use", "install, build: do not select the engine"),
            Flag("wheel", "install: take the engine from this wheel file", "string"),
        ),
        needs_server=False,
        is_own=True,
        shows_environment=False,
    ),
    Command(
        "config",
        "Show and check the configuration of the server, or import that of another one",
        "tools.config:config",
        "[show | check | path | schema | import FILE]",
        (
            Flag("json", "show: print JSON"),
            Flag("origin", "show: print where each value comes from"),
            Flag("create", "import: create the models too, on the running server"),
            Flag("force", "import: replace the file that --output names"),
            Flag("from", "import: whose file it is: llama-swap or presets (default: by its name)", "string"),
            Flag("output", "import: write this file, and do not print", "string", "o"),
        ),
        needs_server=False,
        is_own=True,
        shows_environment=False,
    ),
    Command(
        "tokenize",
        "Tokenize a text",
        "tools.tokenize_embed_rerank:tokenize",
        "MODEL [TEXT]",
        _TOKENIZE_FLAGS,
        at_least=1,
        is_own=True,
    ),
    Command(
        "embed",
        "Print the embeddings of texts",
        "tools.tokenize_embed_rerank:embed",
        "MODEL [TEXT...]",
        _EMBED_FLAGS,
        at_least=1,
        is_own=True,
    ),
    Command(
        "rerank",
        "Rank documents by relevance to a query",
        "tools.tokenize_embed_rerank:rerank",
        "MODEL QUERY [DOCUMENT...]",
        _RERANK_FLAGS,
        at_least=2,
        is_own=True,
    ),
    Command(
        "load",
        "Load models before they are needed",
        "conversation.load:load",
        "MODEL [MODEL...]",
        (Flag("keepalive", "Duration to keep a model loaded (e.g. 5m)", "string"),),
        at_least=1,
        is_own=True,
    ),
    Command(
        "bench",
        "Measure the speed of a model",
        "tools.bench:bench",
        "MODEL",
        _BENCH_FLAGS,
        count=1,
        is_own=True,
    ),
    Command(
        "verify",
        "Check the files of models (default: all) against their digests",
        "models.verify:verify",
        "[MODEL...]",
        (Flag("json", "Print JSON"),),
        is_own=True,
    ),
    Command(
        "events",
        "Show why models were loaded, unloaded and kept waiting",
        "tools.events:events",
        "[MODEL]",
        (
            Flag("follow", "Continue with events as they happen", short="f"),
            Flag("json", "Print JSON, an event a line"),
        ),
        is_own=True,
    ),
    Command(
        "usage",
        "Show how much was used, by day, API key, model and API",
        "tools.usage:usage",
        "",
        (
            Flag(
                "by", "What to sum by: day, key, model, surface, with commas between", "string", default="day"
            ),
            Flag(
                "since",
                "First day (UTC): 2026-11-30, today, all, or 7d for the last seven days",
                "string",
                default="7d",
            ),
            Flag("until", "Last day, likewise (default: today)", "string"),
            Flag("key", "Only what this API key used, by its id", "string"),
            Flag("model", "Only what was used of this model", "string"),
            Flag("json", "Print the API's JSON"),
            Flag("csv", "Print CSV"),
        ),
        count=0,
        is_own=True,
    ),
    Command(
        "ui",
        "Open the web page of the server: chat, models, what runs",
        "tools.page:ui",
        flags=(Flag("print", "Only print the address"),),
        count=0,
        is_own=True,
    ),
    Command(
        "doctor",
        "Check the server, the models, the engine and the environment",
        "doctor.doctor:doctor",
        flags=(Flag("json", "Print JSON"),),
        count=0,
        needs_server=False,
        is_own=True,
    ),
    Command(
        "key",
        "Make, list, rotate and revoke API keys",
        "keys.key:key",
        "create NAME | list | show KEY | rotate KEY | revoke KEY",
        _KEY_FLAGS,
        at_least=1,
        needs_server=False,
        is_own=True,
    ),
    Command(
        "audit",
        "Show who changed what, or check that no line of it was changed",
        "keys.audit:audit",
        "[show | check]",
        (
            Flag("lines", "How many acts to show", "int", "n", default="20"),
            Flag("json", "Print the lines as they are"),
        ),
        needs_server=False,
        is_own=True,
        shows_environment=False,
    ),
    Command(
        "cluster",
        "Join several machines behind one address",
        "cluster.cluster:cluster",
        "status | drain NODE | undrain NODE | remove NODE | key | start --head | join ADDRESS | stop | leave",
        _CLUSTER_FLAGS,
        at_least=1,
        needs_server=False,
        is_own=True,
    ),
    Command(
        "completion",
        "Print a shell completion script",
        "completion.scripts:completion",
        "bash|zsh|fish",
        count=1,
        needs_server=False,
        is_own=True,
        shows_environment=False,
    ),
    Command(
        "man",
        "Print the manual page in roff format",
        "frame.manpage:man",
        count=0,
        needs_server=False,
        is_own=True,
        shows_environment=False,
    ),
    Command("__complete", "", "completion.scripts:complete", needs_server=False, is_hidden=True),
    Command("help", "Help about any command", "", "[command]", needs_server=False, shows_environment=False),
    Command("login", "Sign in to ollama.com", "models.account:signin", count=0, is_hidden=True),
    Command("logout", "Sign out from ollama.com", "models.account:signout", count=0, is_hidden=True),
)
ROOT = Command(
    PROGRAM,
    "Large language model runner",
    "",
    flags=(_NO_WRAP, _VERBOSE, Flag("version", "Show version information", short="v")),
)


def find_command(name: str) -> Command | None:
    """The command of that name or alias."""
    for command in COMMANDS:
        if name == command.name or name in command.aliases:
            return command
    return None
