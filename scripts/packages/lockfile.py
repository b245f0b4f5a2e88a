"""uv.lock as far as packages need it: what Corral depends on at run time, and which wheel fits a machine."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.markers import Marker
from packaging.tags import Tag, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename


@dataclass(frozen=True, slots=True)
class Machine:
    """What wheels are chosen for: the variables of PEP 508, and the tags that fit, the best one first."""

    name: str
    markers: dict[str, str]
    tags: tuple[Tag, ...]


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file on PyPI."""

    package: str
    url: str
    sha256: str


def machine(system: str, processor: str, python: tuple[int, int], platforms: list[str]) -> Machine:
    """A machine with CPython. `system` is `Darwin` or `Linux`, `processor` as `uname -m` prints it."""
    version = f"{python[0]}.{python[1]}"
    markers = {
        "implementation_name": "cpython",
        "platform_machine": processor,
        "platform_python_implementation": "CPython",
        "platform_system": system,
        "python_full_version": f"{version}.0",
        "python_version": version,
        "sys_platform": system.lower(),
        "os_name": "posix",
        "extra": "",
    }
    pure = [Tag(f"py{each}", "none", "any") for each in (f"{python[0]}{python[1]}", "3", "2.py3")]
    tags = (*cpython_tags(python, [f"cp{python[0]}{python[1]}"], platforms), *pure)
    return Machine(f"{system.lower()} {processor}", markers, tags)


def mac(processor: str, python: tuple[int, int], release: tuple[int, int]) -> Machine:
    """A Mac with a release of macOS or a newer one."""
    return machine("Darwin", processor, python, list(mac_platforms(release, processor)))


def linux(processor: str, python: tuple[int, int], minor: int) -> Machine:
    """A Linux with glibc 2.`minor` or newer."""
    platforms = [f"manylinux_2_{each}_{processor}" for each in range(minor, 16, -1)]
    return machine("Linux", processor, python, [*platforms, f"manylinux2014_{processor}"])


def runtime_packages(lock: Path, target: Machine) -> Iterator[dict[str, Any]]:
    """The packages that Corral needs on a machine, by name; without Corral."""
    packages: list[dict[str, Any]] = tomllib.loads(lock.read_text())["package"]
    waiting, seen = ["corral"], {"corral"}
    found = {}
    while waiting:
        package = _chosen(packages, waiting.pop(), target)
        found[package["name"]] = package
        for needed in package.get("dependencies", []):
            holds = "marker" not in needed or Marker(needed["marker"]).evaluate(target.markers)
            if holds and needed["name"] not in seen:
                seen.add(needed["name"])
                waiting.append(needed["name"])
    del found["corral"]
    return (found[name] for name in sorted(found))


def _chosen(packages: list[dict[str, Any]], name: str, target: Machine) -> dict[str, Any]:
    """One of the versions that the lock has of a package, by its markers."""
    for package in packages:
        markers = package.get("resolution-markers", [])
        if package["name"] == name and (
            not markers or any(Marker(each).evaluate(target.markers) for each in markers)
        ):
            return package
    raise ValueError(f"uv.lock has no {name} for {target.name}")


def wheel(package: dict[str, Any], target: Machine) -> Wheel:
    """The wheel of a package that fits a machine best.

    Raises:
        ValueError: none fits.
    """
    ranks = {tag: rank for rank, tag in enumerate(target.tags)}
    fitting = []
    for file in package.get("wheels", []):
        tags = parse_wheel_filename(unquote(urlsplit(file["url"]).path.rpartition("/")[2]))[3]
        fitting += [(ranks[tag], file["url"], file["hash"]) for tag in tags if tag in ranks]
    if not fitting:
        raise ValueError(f"uv.lock has no wheel of {package['name']} for {target.name}")
    _, url, digest = min(fitting)
    return Wheel(package["name"], url, digest.removeprefix("sha256:"))
