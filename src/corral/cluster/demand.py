"""How much was asked of models in each of the last 24 hours: what decides what is loaded before anybody asks.

Every node counts what it sees of the cluster, so that whoever plans next knows the same. The usage ledger has days,
and counts a request only where it came in; this has hours, and all requests. It is kept in a small file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from corral.disk import write_atomically

_log = logging.getLogger("corral.cluster")
HOUR_S = 3600
_HOURS = 24
_MAX_MODELS = 500
# After a longer pause nobody knows what was asked meanwhile.
_MAX_STEP_S = 10.0
_MAX_FILE_BYTES = 8 << 20
_SAVE_EACH_S = 60.0


class HourlyDemand:
    """Seconds that requests of a model were under way, by hour. Times are of the wall clock."""

    def __init__(self) -> None:
        self._hours: dict[str, dict[int, float]] = {}
        # The first hour of each model.
        self._since: dict[str, int] = {}
        self._at_s: float | None = None

    def note(self, counts: Mapping[str, int], now_s: float) -> None:
        """So many requests of each model are under way now, and were since the last call."""
        step_s = 0.0 if self._at_s is None else min(max(now_s - self._at_s, 0.0), _MAX_STEP_S)
        self._at_s = now_s
        hour = int(now_s // HOUR_S)
        for model, count in counts.items():
            if model not in self._hours and len(self._hours) >= _MAX_MODELS:
                continue
            hours = self._hours.setdefault(model, {})
            self._since.setdefault(model, hour)
            if hour not in hours:
                for old in [old for old in hours if not hour - _HOURS < old <= hour]:
                    del hours[old]
                hours[hour] = 0.0
            hours[hour] += count * step_s

    def busiest(self, now_s: float) -> dict[str, float]:
        """The most requests under way at a time, averaged over an hour, of the last 24; by model.

        A model of which nobody asked anything is left out until it was watched for so long.
        """
        hour = int(now_s // HOUR_S)
        found = {}
        for model, hours in self._hours.items():
            most_s = max(
                (seconds for at, seconds in hours.items() if hour - _HOURS < at <= hour), default=0.0
            )
            if most_s or hour - self._since[model] >= _HOURS:
                found[model] = most_s / HOUR_S
        return found

    def encode(self) -> bytes:
        return json.dumps({"hours": self._hours, "since": self._since}, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> HourlyDemand:
        """Anything that is not valid is left out."""
        found = cls()
        try:
            values = json.loads(data)
            for model, hours in list(values["hours"].items())[:_MAX_MODELS]:
                kept = {int(hour): float(seconds) for hour, seconds in hours.items()}
                found._since[model] = int(values["since"][model])
                found._hours[model] = {hour: seconds for hour, seconds in kept.items() if 0 <= seconds < 1e9}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            _log.warning("what was asked of models in the last hours cannot be read, and is forgotten")
        return found


class DemandFile:
    """Keeps it over a restart. Blocks on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved_s = 0.0
        self._has_failed = False

    def load(self) -> HourlyDemand:
        """What was saved; nothing if there is no such file."""
        try:
            with self._path.open("rb") as file:
                return HourlyDemand.decode(file.read(_MAX_FILE_BYTES))
        except FileNotFoundError:
            return HourlyDemand()
        except OSError as exc:
            _log.warning("%s: %s", self._path, (exc.strerror or str(exc)).lower())
            return HourlyDemand()

    def is_due(self, now_s: float) -> bool:
        return not 0 <= now_s - self._saved_s < _SAVE_EACH_S

    def save(self, data: bytes, now_s: float) -> None:
        """Write it down. A disk that is full is logged once: it costs a prewarm, nothing else."""
        self._saved_s = now_s
        try:
            write_atomically(self._path, data)
            self._has_failed = False
        except OSError as exc:
            if not self._has_failed:
                _log.warning("%s: %s", self._path, (exc.strerror or str(exc)).lower())
            self._has_failed = True
