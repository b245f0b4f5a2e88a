"""The same counts from everybody who has them: the log, the usage ledger and its file, the metrics."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path

from bench.soak.run import Run
from bench.soak.server import Server

FIGURES = ("requests", "errors", "cancelled", "prompt_tokens", "cached_tokens", "generated_tokens")


def sums_of_log(run: Run) -> dict[tuple[str, str], Counter[str]]:
    """By key and API, from what the log says of each request that the clients sent."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for request_id, seen in run.seen.items():
        entry = run.log.get(request_id)
        if entry is None:
            run.wrong.append(f"the log does not have {request_id}")
            continue
        status = int(entry["status"])
        sums = found[seen.key, seen.surface]
        sums["requests"] += 1
        sums["cancelled"] += status == 499
        sums["errors"] += status != 499 and (status >= 400 or "error" in entry)
        sums["prompt_tokens"] += entry.get("prompt_tokens", 0)
        sums["cached_tokens"] += entry.get("cached", 0)
        sums["generated_tokens"] += entry.get("tokens", 0)
    return found


def compare_clients(run: Run) -> None:
    """Every request by itself: what the client was told is what the log has."""
    for request_id, seen in run.seen.items():
        entry = run.log.get(request_id)
        if entry is None:
            continue
        logged = (entry.get("prompt_tokens", 0), entry.get("cached", 0), entry.get("tokens", 0))
        if seen.counts is None:
            if seen.lines > logged[2]:
                run.wrong.append(f"{request_id}: {seen.lines} pieces were read of {logged}")
            continue
        prompt, cached, generated = seen.counts
        told = (prompt, logged[1] if cached is None else cached, generated)
        if told != logged or seen.status != entry["status"]:
            run.wrong.append(f"{request_id} {seen.surface}: told {told}, logged {logged} {entry}")


def ledger_sums(server: Server, run: Run) -> dict[tuple[str, str], Counter[str]]:
    """By key and API, as `/api/usage` says; the file must say the same after the end."""
    answer = json.loads(server.ask("/api/usage?by=key,surface&since=all"))
    return {
        (row["key"], row["surface"]): Counter({name: row[name] for name in FIGURES})
        for row in answer["usage"]
    }


def file_sums(path: Path) -> dict[tuple[str, str], Counter[str]]:
    columns = ", ".join(f"sum({name.removesuffix('_tokens')})" for name in FIGURES)
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            f"SELECT key, surface, {columns} FROM usage GROUP BY key, surface"
        ).fetchall()
    return {(row[0], row[1]): Counter(dict(zip(FIGURES, row[2:], strict=True))) for row in rows}


def metric_sums(text: str) -> Counter[str]:
    """Requests by API, and tokens, as `/metrics` says."""
    found: Counter[str] = Counter()
    names = (
        "corral_prompt_tokens_total",
        "corral_cached_prompt_tokens_total",
        "corral_generated_tokens_total",
    )
    for line in text.splitlines():
        name, _, rest = line.partition("{")
        labels, _, value = rest.rpartition("} ")
        if name in names:
            found[name.removeprefix("corral_").removesuffix("_total").replace("cached_prompt", "cached")] += (
                int(value)
            )
        elif name == "corral_requests_total":
            pairs = dict(pair.split("=", 1) for pair in labels.replace('"', "").split(","))
            if pairs["route"] in _ROUTES:
                found[f"requests {pairs['surface']}"] += int(value)
                found["cancelled"] += int(value) * (pairs["status"] == "499")
    return found


_ROUTES = frozenset(
    "/api/generate /api/chat /api/embed /v1/chat/completions /v1/completions /v1/embeddings /v1/messages"
    " /v1/responses /v1/systemone".split()
)
