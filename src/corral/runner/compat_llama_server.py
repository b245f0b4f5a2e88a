"""What Corral relies on in llama-server although nobody promises it, in the wheel and in external builds.

- A server whose environment has LLAMA_SERVER_ROUTER_PORT takes itself for the child of llama-server's router mode: it
  writes its state to stdout, a line of `STATE_PREFIX` and JSON each time, and ends when its stdin does.
- The wheel exports the functions of llama.cpp's log under their C++ names. They are used if they exist.

The engine child imports this module: it must import nothing of Corral. `tests/runner/test_compat_llama_server.py`
checks each point against the installed wheel.
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import Any

STATE_PREFIX = b"cmd_child_to_router:state:"
_ROUTER_PORT = "LLAMA_SERVER_ROUTER_PORT"
_LOG = "_Z15common_log_mainv"  # common_log * common_log_main()
_FLUSH = "_Z16common_log_flushP10common_log"  # void common_log_flush(common_log *)
_SET_LEVEL = "_Z30common_log_set_verbosity_tholdi"  # void common_log_set_verbosity_thold(int)
# Levels of the engine's log: errors only; with the sizes of buffers; with the device of each layer, and much else.
QUIET, BUFFERS, LAYERS = 1, 4, 5


def ask_for_states(environment: MutableMapping[str, str]) -> None:
    """Have the engine report its state, and end with its stdin. Any port will do: it connects to none."""
    environment[_ROUTER_PORT] = "1"


def read_state(line: bytes) -> tuple[str, float] | None:
    """The state that a line of stdout reports and its progress, 0 to 1; None if the line reports no state."""
    if not line.startswith(STATE_PREFIX):
        return None
    try:
        event = json.loads(line[len(STATE_PREFIX) :])
        state, payload = event["state"], event.get("payload")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # a message of a newer engine
    value = payload.get("value") if isinstance(payload, dict) else None
    return str(state), float(value) if isinstance(value, int | float) else 0.0


def flush_log(package: Any) -> bool:
    """Have the engine's log thread write what it holds. `package` is the imported `xllamacpp`.

    Returns whether the wheel has the functions for it.
    """
    import ctypes

    try:
        library = ctypes.CDLL(package.xllamacpp.__file__)
        log, flush = getattr(library, _LOG), getattr(library, _FLUSH)
    except (AttributeError, OSError):
        return False
    log.restype = ctypes.c_void_p
    flush.argtypes = [ctypes.c_void_p]
    flush(log())
    return True


def quieten_log(package: Any) -> bool:
    """Have the engine write errors only from now on, after what it holds; see `flush_log`."""
    import ctypes

    try:
        set_level = getattr(ctypes.CDLL(package.xllamacpp.__file__), _SET_LEVEL)
    except (AttributeError, OSError):
        return False
    set_level(QUIET)
    return flush_log(package)
