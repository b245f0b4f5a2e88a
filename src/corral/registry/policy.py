"""How patient and how parallel transfers are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TransferPolicy:
    """Times in seconds. The defaults are Ollama's where it has one (ollama: server/download.go)."""

    connect_timeout_s: float = 10.0
    # A reply's status and headers must have arrived by then, however slowly they come.
    head_timeout_s: float = 60.0
    # A part that got less than `min_bytes_per_s` on average for this long is started again.
    stall_timeout_s: float = 30.0
    min_bytes_per_s: int = 256
    retry_delay_s: float = 1.0
    # Attempts in a row without progress; one that brought `progress_bytes` resets the count.
    max_attempts: int = 6
    progress_bytes: int = 256 << 10
    # How long a server may ask clients to wait (`Retry-After`); a longer wait ends the pull with its answer.
    max_retry_after_s: float = 120.0
    first_streams: int = 2
    max_streams: int = 16
    report_interval_s: float = 0.06

    def backoff_s(self, failures: int, jitter: float) -> float:
        """The pause after the n-th failure in a row (from 1); `jitter` in [0, 1) spreads it by half to both sides."""
        doublings = min(max(failures - 1, 0), 5)
        return self.retry_delay_s * (1 << doublings) * (0.5 + jitter)
