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
    ├── TemplateError                a prompt template that does not parse, or fails while it runs
    │   └── TemplateRaisedError      it refuses the conversation
    ├── AccessError                  the caller may not do this
    │   ├── UnauthorizedError        it did not show a valid API key
    │   ├── ForbiddenError           its key, or the server's mode, does not allow it
    │   └── RateLimitError           it has done too much of it
    ├── DeadlineError                the time that the request had is up
    ├── RequestCancelledError        somebody else ended the request
    ├── RequestNotFoundError         no such request is under way
    ├── CloudDisabledError           a model of the hosted service
    ├── ModelNotFoundError
    ├── LocalFilesError              a caller that is not allowed to import local files
    ├── StoreError
    │   ├── DigestMismatchError
    │   ├── CorruptManifestError
    │   ├── GGUFError                an invalid model file
    │   └── DiskFullError
    ├── RegistryError                a registry refused, answered wrongly, or cannot be reached
    │   ├── RegistryAuthError
    │   ├── RegistryUnavailableError no response
    │   ├── RegistryStatusError      a response with an error status
    │   ├── RegistryProtocolError    a response that breaks the protocol
    │   └── TransferCancelledError   no client waits for it any more
    ├── QuantizeError                weights that cannot be converted to the requested type
    ├── SchedulingError
    │   ├── QueueFullError
    │   └── InsufficientMemoryError
    ├── WorkerError                  a job in a worker process failed
    │   └── WorkerLimitError         it exceeded its time or memory limit
    └── RunnerError                  the engine child
        ├── RunnerStartError
        ├── RunnerExitedError
        └── EngineError              the engine refused one request (its own status and body)

Facts are attributes; the message is for people. Only `api/http/errors.py` maps classes to statuses.
"""

from __future__ import annotations


class CorralError(Exception):
    """The root: `str()` is the message, `hint` says what to do (may be empty)."""

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
    """The model does not have a capability; the message is the wire text."""


class OptionError(InvalidRequestError):
    """An option has the wrong type (500, as in Ollama; see `api/http/errors.py`)."""


class SchemaError(InvalidRequestError):
    """A `format` schema or a grammar that cannot be turned into a constraint."""


class FormatError(InvalidRequestError):
    """A `format` that is neither "json" nor a schema (500, as in Ollama; see `api/http/errors.py`)."""


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
    """The prompt is longer than the context and must not be truncated. Counts in tokens, 0 if unknown."""

    def __init__(self, message: str, *, prompt_count: int = 0, num_ctx: int = 0) -> None:
        super().__init__(message)
        self.prompt_count = prompt_count
        self.num_ctx = num_ctx


class TemplateError(CorralError):
    """A template that does not parse (create: 400, request: 500) or fails while it runs."""


class TemplateRaisedError(TemplateError):
    """The template itself refused the conversation (`raise_exception`)."""


class AccessError(CorralError):
    """The caller may not do what it asked for."""


class UnauthorizedError(AccessError):
    """A valid API key is required, and the request does not have one."""


class ForbiddenError(AccessError):
    """The key of the caller, or the mode of the server, does not allow this."""


class RateLimitError(AccessError):
    """The caller has used up what it may use for now; `retry_after_s` is when it may try again."""

    def __init__(self, message: str, *, retry_after_s: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class DeadlineError(CorralError):
    """The time that a request had was up before there was anything to answer with."""

    def __init__(self) -> None:
        super().__init__(
            "the deadline of the request has passed",
            hint="give it more time, or try when the server is less busy",
        )


class RequestCancelledError(CorralError):
    """A request that was ended by somebody else than its client."""

    def __init__(self) -> None:
        super().__init__("the request was cancelled on the server")


class RequestNotFoundError(CorralError):
    """No request with this id is under way, or it is somebody else's."""

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"no request {request_id} is under way",
            hint="GET /api/queue lists the requests that can be cancelled",
        )


class CloudDisabledError(CorralError):
    """A model of the hosted service, which this server does not use."""


class ModelNotFoundError(CorralError):
    """No such model in the store. `name` is as the caller typed it."""

    def __init__(self, name: str, message: str = "") -> None:
        super().__init__(message or f"model '{name}' not found")
        self.name = name


class LocalFilesError(CorralError):
    """A caller that has not proven that it may read files of this machine."""


class StoreError(CorralError):
    """The model store cannot do what was asked."""


class DigestMismatchError(StoreError):
    """Content that does not match its digest."""

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
    """Weights that cannot be converted to the requested type; the message says why."""


class DiskFullError(StoreError):
    """The disk of the models folder is full. Sizes are 0 if unknown."""

    def __init__(self, message: str, *, needed_bytes: int = 0, free_bytes: int = 0) -> None:
        super().__init__(
            message, hint="free some disk space, or set OLLAMA_MODELS to a folder on another disk"
        )
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class RegistryError(CorralError):
    """An error of a registry; the message is the wire text."""


class RegistryAuthError(RegistryError):
    """A registry requires credentials that we do not have, or must not get those that we have."""


class RegistryUnavailableError(RegistryError):
    """No response: no address, no connection, or it broke off."""


class RegistryStatusError(RegistryError):
    """A registry answered with an error. `retry_after_s` is its Retry-After, if any."""

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
        # Whether a retry cannot help.
        self.is_final = is_final and 400 <= status < 500 and status not in (408, 425, 429)


class RegistryProtocolError(RegistryError):
    """A registry's response is invalid, or not what was requested."""


class TransferCancelledError(RegistryError):
    """A transfer ended because no client waits for it."""

    def __init__(self) -> None:
        super().__init__("context canceled")


class SchedulingError(CorralError):
    """A request that could not be given a runner."""


class QueueFullError(SchedulingError):
    """More requests wait for a load than `OLLAMA_MAX_QUEUE` allows."""

    def __init__(self) -> None:
        super().__init__("server busy, please try again.  maximum pending requests exceeded")


class InsufficientMemoryError(SchedulingError):
    """The model does not fit into the memory of this machine."""

    def __init__(self, message: str, *, needed_bytes: int, free_bytes: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class NodeError(CorralError):
    """Another server of the cluster could not be reached, broke off, or said what is not HTTP."""


class NodeNotFoundError(CorralError):
    """There is no server of this name in the cluster."""


class NoNodeError(CorralError):
    """No server of the cluster can take the request at this moment."""


class WorkerError(CorralError):
    """A job in a worker process failed: its worker died, or the job raised an unexpected exception."""


class WorkerLimitError(WorkerError):
    """A job exceeded its limit of time, memory or output; the text says which."""


class RunnerError(CorralError):
    """An error of the engine child."""


class RunnerStartError(RunnerError):
    """The child did not become ready. `log_tail` is the end of its stderr."""

    def __init__(
        self, message: str, *, exit_code: int | None = None, log_tail: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
        self.log_tail = log_tail


class RunnerExitedError(RunnerError):
    """The child died or stopped responding during a request."""

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
