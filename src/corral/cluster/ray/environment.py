"""The environment of Ray's processes, and of a server that one of them starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

# Ray's own names; those with small letters are entries of its ray_config_def.h.
SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
    "RAY_ROTATION_MAX_BYTES": "16777216",
    "RAY_ROTATION_BACKUP_COUNT": "1",
    # A lost machine is noticed within some seconds; Ray's own values need half a minute. Requests do not wait for it.
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "5",
    # While the head restarts, the others go on.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "3600",
    # Models fill the memory on purpose; Ray would kill their server for it.
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_worker_niceness": "0",
    "RAY_worker_oom_score_adjustment": "0",
    # A server outlives its actor for as long as its answers take.
    "RAY_kill_child_processes_on_worker_exit": "false",
    "RAY_enable_worker_prestart": "false",
    "RAY_prestart_worker_first_driver": "false",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# What Ray sets for its workers, for computations inside of them.
_OF_WORKERS = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "RAY_", "PYTHONBREAKPOINT", "SPT_NOENV")


def ray_environment(
    token_file: Path | None, storage: Path | None = None, env: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """For a process that starts Ray or talks to it.

    Without `token_file` the cluster is somebody else's, and so are the variables that lead to it. `storage` is where
    the head keeps what it knows, so that it survives its own end.
    """
    if token_file is None:
        return {**env, "RAY_USAGE_STATS_ENABLED": "0"}
    found = {name: value for name, value in env.items() if not name.startswith("RAY_")}
    found |= {**SETTINGS, "RAY_AUTH_TOKEN_PATH": str(token_file)}
    # Its TLS is set up by those who run it.
    found |= {name: env[name] for name in env if name.startswith(("RAY_TLS_", "RAY_USE_TLS"))}
    if storage is not None:
        found |= {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(storage)}
    return found


def server_environment(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """For a server that a Ray worker starts: what the worker was started from, without what Ray adds for workers."""
    base = _environment_of(os.getppid()) if sys.platform == "linux" else None
    if base is None:
        base = {name: value for name, value in env.items() if not name.startswith(_OF_WORKERS)}
    return {name: value for name, value in base.items() if not name.startswith("RAY_")}


def _environment_of(pid: int) -> dict[str, str] | None:
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    pairs = (os.fsdecode(entry).partition("=") for entry in entries if b"=" in entry)
    found = {name: value for name, _, value in pairs}
    return found if found.get("PATH") else None
