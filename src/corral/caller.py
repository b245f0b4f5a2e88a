"""Who a request comes from and what it may do: set once for each request, asked wherever a model is used.

The steps in front of the handlers set a `Caller`; a task or a thread that a request starts inherits it. Work that
belongs to no request has one that may do everything.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from corral import modelglobs, requestfacts
from corral.errors import ForbiddenError, InvalidRequestError
from corral.names import ModelName, parse_ref
from corral.priorities import DEFAULT_PRIORITY, Priority

# What a key can be for. "infer": run models, and see what was kept of it; "read": see which models exist; "manage":
# add, change, remove and unload them; "admin": everything, keys too; "cluster": another server that asks for its own
# callers; the others are for `/v2/`.
Scope = Literal["infer", "read", "manage", "admin", "registry:pull", "registry:push", "cluster"]
SCOPES: tuple[Scope, ...] = (
    "infer", "read", "manage", "admin", "registry:pull", "registry:push", "cluster",
)  # fmt: skip
# What callers without a key never have: nobody is another server who does not show that.
KEYLESS_SCOPES: frozenset[Scope] = frozenset(SCOPES) - {"cluster"}
_ALL: frozenset[Scope] = frozenset(SCOPES)
# What else comes with a scope.
_IMPLIED: dict[Scope, tuple[Scope, ...]] = {
    "admin": SCOPES,
    "manage": ("read",),
    "registry:push": ("registry:pull",),
    "cluster": ("infer", "read", "manage", "registry:pull"),
}


def with_implied(scopes: frozenset[Scope]) -> frozenset[Scope]:
    """The scopes with those that come with them."""
    return scopes.union(*(_IMPLIED.get(scope, ()) for scope in scopes))


CLUSTER_SCOPES = with_implied(frozenset({"cluster"}))


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests and tokens in any 60 seconds, tokens in a day, requests at a time; 0: no limit.

    `max_predict`: how many tokens an answer may have.
    """

    rpm: int = 0
    tpm: int = 0
    tokens_per_day: int = 0
    max_parallel: int = 0
    max_predict: int = 0


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Caller:
    """`key_id` is empty for a caller without a key; `models` are patterns, None allows every model.

    `scopes` has those that others imply. `address` is that of the client, empty for a unix socket. `priority` is the
    class of its requests. `share` says whose part of the server they take: callers with the same text have one part
    together. Everybody on this machine without a key has the empty one. `gateway`: the server of the cluster that
    asks for this caller, and counts what it uses; empty: the caller asks itself.
    """

    key_id: str = ""
    name: str = ""
    scopes: frozenset[Scope] = _ALL
    models: tuple[str, ...] | None = None
    address: str = ""
    limits: Limits = NO_LIMITS
    priority: Priority = DEFAULT_PRIORITY
    share: str = ""
    gateway: str = ""

    def may_use(self, name: ModelName) -> bool:
        """Whether the caller may know of a model at all."""
        return self.models is None or modelglobs.matches(self.models, name)


ANYBODY = Caller()
_current: ContextVar[Caller] = ContextVar("caller", default=ANYBODY)


def begin(caller: Caller) -> None:
    """Set who the request of this task comes from."""
    _current.set(caller)


def current() -> Caller:
    """Who this task works for."""
    return _current.get()


def require_model(name: ModelName, asked: str = "") -> None:
    """Note that the caller wants to use a model. `asked`: the name in the request, if that may be an alias of it.

    Raises:
        ForbiddenError: it may not. Whether the model exists, and what an alias stands for, is not said.
    """
    requestfacts.note_target(name.short())
    caller = _current.get()
    if not caller.may_use(name):
        raise ForbiddenError(
            f"this API key may not use the model '{_shown(asked) if asked else name.short()}'",
            hint="ask for a key whose models include it",
        )


def _shown(asked: str) -> str:
    try:
        return ModelName.parse(parse_ref(asked).base).short()
    except InvalidRequestError:
        return asked


def require_scope(scope: Scope, what: str) -> None:
    """Raises ForbiddenError: the caller may not do what it asks for with this body."""
    if scope not in _current.get().scopes:
        raise missing_scope(scope, what)


def missing_scope(scope: str, what: str) -> ForbiddenError:
    """The error for a caller without a scope."""
    return ForbiddenError(
        f"this API key may not {what}: it does not have the scope '{scope}'",
        hint=f"use a key with the scope {scope}",
    )
