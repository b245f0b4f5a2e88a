"""What the whole server does not do, whoever asks."""

from __future__ import annotations

from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler, Route
from corral.errors import ForbiddenError

_CHANGES = frozenset({"manage", "registry:push"})
# Keys can always be revoked.
_INFERENCE = frozenset({"open", "key", "infer", "admin", "cluster"})


class CheckMode:
    """The step for CORRAL_READ_ONLY and CORRAL_INFER_ONLY."""

    def __init__(self, *, is_read_only: bool, is_infer_only: bool) -> None:
        self._is_read_only = is_read_only
        self._is_infer_only = is_infer_only

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        if exchange.route is not None:
            self._check(exchange.route)
        await following(exchange)

    def _check(self, route: Route) -> None:
        """Raises ForbiddenError."""
        if self._is_infer_only and route.scope not in _INFERENCE:
            raise ForbiddenError("this server does inference only", hint="CORRAL_INFER_ONLY is set")
        if self._is_read_only and route.scope in _CHANGES and not route.is_read_only:
            raise ForbiddenError("this server does not change its models", hint="CORRAL_READ_ONLY is set")
