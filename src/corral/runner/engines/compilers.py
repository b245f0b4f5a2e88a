"""What the compilers of this machine say: their versions, and which headers they find."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from corral.childenv import child_environment
from corral.runner.engines.asking import SilentEngineError, ask

_COMPILERS = ("c++", "g++", "clang++")
_LIMIT_S = 60.0
# What decides which headers and libraries a compiler takes.
SEARCH_VARIABLES = ("CPATH", "CPLUS_INCLUDE_PATH", "C_INCLUDE_PATH", "LIBRARY_PATH")


def cxx_compiler() -> str:
    """The path of a C++ compiler; empty without one."""
    return next((found for name in _COMPILERS if (found := shutil.which(name))), "")


def run_tool(command: list[str]) -> str:
    """What a tool prints on both outputs; empty if it cannot be run."""
    try:
        done = ask(command, child_environment(SEARCH_VARIABLES), _LIMIT_S)
    except SilentEngineError:
        return ""
    return done.stdout + done.stderr


def versions(tools: Iterable[str]) -> list[str]:
    """What tools say of their versions, those that are here."""
    return [run_tool([found, "--version"]).strip() for tool in tools if (found := shutil.which(tool))]


def header_macros(header: str) -> str:
    """The macros of a header, or the compiler's complaint; empty without a compiler."""
    compiler, sdk = cxx_compiler(), os.environ.get("VULKAN_SDK")
    folders = ["-I", str(Path(sdk, "include"))] if sdk else []
    command = [compiler, *folders, "-dM", "-E", "-x", "c++", "-include", header, os.devnull]
    return run_tool(command) if compiler else ""


def has_header(name: str) -> bool:
    """Whether the compiler finds a header, or the Vulkan SDK has it."""
    text = header_macros(name)
    return bool(text) and "fatal error" not in text and "file not found" not in text
