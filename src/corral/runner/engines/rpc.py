"""Whether an engine could spread a model over machines: llama.cpp's RPC, which most builds do not have."""

from __future__ import annotations

import sys

from corral.errors import CorralError
from corral.runner.engines.asking import SilentEngineError, ask, package_environment
from corral.runner.engines.choice import Engine

_TIMEOUT_S = 60.0
# `llama_supports_rpc` says whether the backend was compiled in (llama.cpp: src/llama.cpp).
_QUESTION = """
import ctypes, sys
import xllamacpp.xllamacpp as engine
supports = ctypes.CDLL(engine.__file__).llama_supports_rpc
supports.restype = ctypes.c_bool
sys.stdout.write("rpc:" + str(int(supports())))
"""
_FITS = "a model has to fit on one machine: corral cluster status shows which node has how much memory"


def has_rpc(engine: Engine) -> bool:
    """Asks the engine in a child. One that cannot be asked has none."""
    variables = package_environment(engine.package_folder, None)
    command = [sys.executable, "-c", _QUESTION]
    if engine.server_path is not None:
        command = [str(engine.server_path), "--help"]
    try:
        done = ask(command, variables, _TIMEOUT_S)
    except SilentEngineError:
        return False
    return "--rpc" in done.stdout if engine.server_path is not None else "rpc:1" in done.stdout


def check_rpc(engine: Engine, *, is_wanted: bool) -> None:
    """Raises CorralError: it is wanted; the text says why it cannot be had."""
    if not is_wanted:
        return
    if has_rpc(engine):
        raise CorralError(
            f"CORRAL_CLUSTER_RPC: the engine {engine.name} has llama.cpp's RPC, but Corral does not use it: it is"
            " neither encrypted nor protected by a key",
            hint=f"unset CORRAL_CLUSTER_RPC; {_FITS}",
        )
    raise CorralError(
        f"CORRAL_CLUSTER_RPC: the engine {engine.name} was built without llama.cpp's RPC backend",
        hint=f"unset CORRAL_CLUSTER_RPC; {_FITS}",
    )
