"""Ray itself: the only module that imports it at run time. It takes a second and 100 MB, so nothing else does."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from corral.errors import CorralError

NAMESPACE = "corral"
SUPPORTED = (2, 60)


class RayError(CorralError):
    """Ray is not there, or does not do what it should."""


def need_ray() -> str:
    """The version of Ray that is installed.

    Raises:
        RayError: there is none, or one that has not been tried.
    """
    try:
        found = version("ray") if find_spec("ray") is not None else ""
    except PackageNotFoundError:
        found = ""
    if not found:
        raise RayError("Ray is not installed", hint="pip install 'corral[cluster]'")
    numbers = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    if numbers != SUPPORTED:
        wanted = ".".join(map(str, SUPPORTED))
        raise RayError(
            f"Ray {found} is installed; this Corral works with {wanted}", hint="pip install 'corral[cluster]'"
        )
    return found


def connect(address: str) -> Any:
    """Join a Ray cluster as a driver, and return the package.

    Raises whatever Ray does; `failures.py` explains it.
    """
    need_ray()
    import ray

    if not ray.is_initialized():
        ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level="ERROR",
            configure_logging=False,
        )
    return ray
