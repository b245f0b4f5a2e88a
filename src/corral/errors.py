"""Every error that Corral raises on purpose. This module imports nothing.

    CorralError
    ├── InvalidRequestError          the caller's fault: 400 unless a surface says otherwise
    │   ├── InvalidModelNameError
    │   ├── InvalidDigestError
    │   ├── CapabilityError          the model cannot do what was asked
    │   ├── OptionError              an entry of `options` has the wrong type
    │   ├── SchemaError              a JSON schema or grammar that cannot be used
    │   ├── FormatError              a `format` that is neither "json" nor a schema
    │   ├── ConversionError          safetensors files that cannot become a GGUF file
    │   │   └── UnsupportedArchitectureError
    │   └── ContextOverflowError     the prompt does not fit and must not be cut
    ├── TemplateError                a prompt template does not parse or fails while it runs
    │   └── TemplateRaisedError      it refuses the conversation
    ├── CloudDisabledError           a model that runs elsewhere
    ├── ModelNotFoundError
    ├── LocalFilesError              a caller that may not have files of this machine read
    ├── StoreError
    │   ├── DigestMismatchError
    │   ├── CorruptManifestError
    │   ├── GGUFError                a model file that is not sound
    │   └── DiskFullError
    ├── RegistryError                a registry refused, lied, or cannot be reached
    │   ├── RegistryAuthError
    │   ├── RegistryUnavailableError no answer
    │   ├── RegistryStatusError      an answer with an error status
    │   ├── RegistryProtocolError    an answer that breaks the protocol
    │   └── TransferCancelledError   nobody waits for it any more
    ├── QuantizeError                weights cannot be brought to the type that was asked for
    ├── SchedulingError
    │   ├── QueueFullError
    │   └── InsufficientMemoryError
    ├── WorkerError                  a job in a worker process failed
    │   └── WorkerLimitError         it took more time or memory than it may have
    └── RunnerError                  the engine child
        ├── RunnerStartError
        ├── RunnerExitedError
        └── EngineError              the engine refused one request (its own status and body)

Facts are attributes; the message is what a person reads. `api/http/errors.py` alone turns a class into a status.
"""

from __future__ import annotations


class CorralError(Exception):
    """The root: `str()` is the text for the person, `hint` what to do next (may be empty)."""

    hint: str

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InvalidRequestError(CorralError):
    """The request itself cannot be served."""


class InvalidModelNameError(InvalidRequestError):
    """A model name that breaks the grammar."""

    def __init__(self, name: str, message: str = "invalid model name") -> None:
        super().__init__(message)
        self.name = name


class InvalidDigestError(InvalidRequestError):
    """A digest that is not `sha256:` (or `sha256-`) and 64 hexadecimal digits."""

    def __init__(self, digest: str) -> None:
        super().__init__("invalid digest format")
        self.digest = digest


class CapabilityError(InvalidRequestError):
    """The model lacks a capability; the message is the wire text."""


class OptionError(InvalidRequestError):
    """An option has the wrong type (Ollama answers 500 here, so does `api/http/errors.py`)."""


class SchemaError(InvalidRequestError):
    """A `format` schema or a grammar that cannot be turned into a constraint."""


class FormatError(InvalidRequestError):
    """A `format` of another kind (Ollama answers 500 here, so does `api/http/errors.py`)."""


class ConversionError(InvalidRequestError):
    """Files that cannot be converted to GGUF; the message names the file and what is wrong with it."""


class UnsupportedArchitectureError(ConversionError):
    """An architecture that no converter knows. `known` are those that can be converted."""

    def __init__(self, architecture: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f'unsupported architecture "{architecture}"; these can be converted: {", ".join(known)}'
        )
        self.architecture = architecture
        self.known = known


class ContextOverflowError(InvalidRequestError):
    """The prompt is longer than the context and may not be cut. Counts in tokens, zero where they are not known."""

    def __init__(self, message: str, *, prompt_count: int = 0, num_ctx: int = 0) -> None:
        super().__init__(message)
        self.prompt_count = prompt_count
        self.num_ctx = num_ctx


class TemplateError(CorralError):
    """A template that does not parse (create: 400, request: 500) or fails while it runs."""


class TemplateRaisedError(TemplateError):
    """The template itself refused the conversation (`raise_exception`)."""


class CloudDisabledError(CorralError):
    """A model that runs elsewhere; this server runs models here."""


class ModelNotFoundError(CorralError):
    """No such model in the store. `name` is as the caller typed it."""

    def __init__(self, name: str, message: str = "") -> None:
        super().__init__(message or f"model '{name}' not found")
        self.name = name


class LocalFilesError(CorralError):
    """A caller that has not shown that it may have files of this machine read."""


class StoreError(CorralError):
    """The model store cannot do what was asked."""


class DigestMismatchError(StoreError):
    """Content that does not hash to the digest it was announced with."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f'digest mismatch, expected "{expected}", got "{actual}"')
        self.expected = expected
        self.actual = actual


class CorruptManifestError(StoreError):
    """A manifest file that cannot be read as a manifest."""


class GGUFError(StoreError):
    """A GGUF file that is truncated, inconsistent or hostile."""


class GGUFCutShortError(GGUFError):
    """The end of a GGUF file is missing."""


class QuantizeError(CorralError):
    """Weights that cannot be brought to the type that was asked for; the message says why."""


class DiskFullError(StoreError):
    """The disk of the models folder has no room. Sizes are zero where they are not known."""

    def __init__(self, message: str, *, needed_bytes: int = 0, free_bytes: int = 0) -> None:
        super().__init__(message, hint="free some space, or let OLLAMA_MODELS name a folder on another disk")
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class RegistryError(CorralError):
    """Something about a registry; the message is the wire text."""


class RegistryAuthError(RegistryError):
    """A registry wants credentials that we do not have, or may not be given those that we have."""


class RegistryUnavailableError(RegistryError):
    """No answer: no address, no connection, or it broke off."""


class RegistryStatusError(RegistryError):
    """A registry answered with an error. `retry_after_s` is what it asked for, if anything."""

    def __init__(
        self, status: int, body: str, *, retry_after_s: float | None = None, is_final: bool = True
    ) -> None:
        if status == 404:
            message = "file does not exist"
        else:
            message = f"{status}: {body}" if body else str(status)
        super().__init__(message)
        self.status = status
        self.body = body
        self.retry_after_s = retry_after_s
        # Asking again will not help.
        self.is_final = is_final and 400 <= status < 500 and status not in (408, 425, 429)


class RegistryProtocolError(RegistryError):
    """A registry's answer is not what was asked for, or not sound."""


class TransferCancelledError(RegistryError):
    """A transfer ended because nobody waits for it."""

    def __init__(self) -> None:
        super().__init__("context canceled")


class SchedulingError(CorralError):
    """A request that could not be given a runner."""


class QueueFullError(SchedulingError):
    """More requests wait for a load than `OLLAMA_MAX_QUEUE` allows."""

    def __init__(self) -> None:
        super().__init__("server busy, please try again.  maximum pending requests exceeded")


class InsufficientMemoryError(SchedulingError):
    """The model cannot fit into the memory of this machine."""

    def __init__(self, message: str, *, needed_bytes: int, free_bytes: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class WorkerError(CorralError):
    """A job in a worker process failed: its worker died, or the job has a fault."""


class WorkerLimitError(WorkerError):
    """A job took more time, memory or output than it may have; the text says which."""


class RunnerError(CorralError):
    """Something about the engine child."""


class RunnerStartError(RunnerError):
    """The child did not become ready. `log_tail` is the end of its stderr."""

    def __init__(
        self, message: str, *, exit_code: int | None = None, log_tail: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
        self.log_tail = log_tail


class RunnerExitedError(RunnerError):
    """The child died or went silent while it served."""

    def __init__(self, message: str, *, exit_code: int | None = None, log_tail: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.log_tail = log_tail


class EngineError(RunnerError):
    """The engine answered a request with an error: `status` its HTTP status, `message` what it says.

    `str()` is its raw body, which goes to the log.
    """

    def __init__(self, status: int, body: str, message: str = "") -> None:
        super().__init__(body)
        self.status = status
        self.message = message or body
