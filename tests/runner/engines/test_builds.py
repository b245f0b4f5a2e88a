"""Compiling an engine: what a build that ends early leaves, how the next one goes on, and old headers of Vulkan."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from corral.runner.engines import buildtree, toolchain, vulkanheaders
from corral.runner.engines.build import BuildMeter, build_engine
from corral.runner.engines.choice import wheel_version
from corral.runner.engines.folders import EngineSetupError, engines_folder, locked, workplace
from tests.runner.engines.test_engines import put_native

OBJECTS = "source/thirdparty/llama.cpp/build"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    engines_folder(tmp_path).mkdir()
    return buildtree.open_tree(tmp_path, "cuda", clean=False)


def compiled(tree: Path, name: str = "a.cu.o") -> Path:
    path = tree / OBJECTS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("object")
    return path


def test_a_build_goes_on_with_the_same_settings(tree: Path) -> None:
    assert not buildtree.settle(tree, "1.0", {"cmake": "-DA=1"})
    kept = compiled(tree)
    own = tree / "source/build/temp/x.o"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert buildtree.settle(tree, "1.0", {"cmake": "-DA=1"})
    assert kept.exists()
    assert not own.exists(), "the package's own part is compiled again"


@pytest.mark.parametrize(
    ("version", "settings"), [("1.1", {"cmake": "-DA=1"}), ("1.0", {"cmake": "-DA=2"}), ("1.0", {})]
)
def test_other_settings_begin_anew(tree: Path, version: str, settings: dict[str, str]) -> None:
    """Files that were compiled for another card are not linked with those of this one."""
    buildtree.settle(tree, "1.0", {"cmake": "-DA=1"})
    old = compiled(tree)
    assert not buildtree.settle(tree, version, settings)
    assert not old.exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', "[" * 5000, '{"version": "1.0"}'])
def test_a_note_that_makes_no_sense_begins_anew(tree: Path, text: str) -> None:
    old = compiled(tree)
    (tree / "made.json").write_text(text)
    assert not buildtree.settle(tree, "1.0", {"cmake": ""})
    assert not old.exists()


def test_what_is_left_is_listed_and_removed(tmp_path: Path, tree: Path) -> None:
    """Whoever makes another engine leaves it alone."""
    buildtree.close_tree(tree)
    assert not tree.exists(), "without anything to go on with, nothing stays"
    tree = buildtree.open_tree(tmp_path, "cuda", clean=False)
    buildtree.settle(tree, "1.0", {})
    buildtree.close_tree(tree)
    with locked(tmp_path), workplace(tmp_path, "vulkan"):
        assert buildtree.begun_builds(tmp_path) == ["cuda"]
    assert not buildtree.remove_begun(tmp_path, "vulkan")
    assert buildtree.remove_begun(tmp_path, "cuda")
    assert buildtree.begun_builds(tmp_path) == []
    assert not tree.exists()


def test_a_toolkit_is_kept(tmp_path: Path, tree: Path) -> None:
    """It is large; a source that did not come is no reason to fetch it again."""
    (tree / "cuda").mkdir()
    buildtree.close_tree(tree)
    assert not tree.exists(), "half of one is worth nothing"
    tree = buildtree.open_tree(tmp_path, "cuda", clean=False)
    (tree / "cuda").mkdir()
    (tree / buildtree.TOOLKIT_MARK).write_text("")
    buildtree.close_tree(tree)
    assert buildtree.begun_builds(tmp_path) == ["cuda"]


def test_progress_counts_what_is_compiled(tree: Path) -> None:
    """The second half of a build begins at its half."""
    for name in ("a.cu.o", "deep/b.cpp.o", "c.c.o", "mul.comp.cpp", "rule.cmake", "libx.a"):
        compiled(tree, name)
    heard: list[float] = []
    whole, rest = (BuildMeter("vulkan", lambda share, _line: heard.append(share)) for _ in range(2))
    for line in (
        "Building CUDA object a",
        "Building CXX object b",
        "Building C object c",
        "Generate vulkan shaders for m",
    ):
        whole.read(line)
    rest.skip(buildtree.compiled_files(tree))
    rest.read("")
    assert heard[-1] == pytest.approx(heard[-2])


def test_what_glslc_is_too_old_for() -> None:
    meter = BuildMeter("vulkan", lambda _share, _line: None)
    for line in (
        "  -- GL_KHR_cooperative_matrix not supported by glslc",
        "  -- GL_EXT_bfloat16 supported by glslc",
        "-- GL_EXT_integer_dot_product not supported by glslc",
    ):
        meter.read(line)
    assert meter.without == ["GL_KHR_cooperative_matrix", "GL_EXT_integer_dot_product"]


# Stands for pip: brings a source, "compiles" one file a run, and has a wheel with the third.
PIP = """#!/bin/sh
for word; do last=$word; done
echo "$@" >> {log}
case " $* " in
*" download "*)
    for word; do [ "$before" = --dest ] && target=$word; before=$word; done
    mkdir -p "$target"
    cp {archive} "$target/";;
*" wheel "*)
    mkdir -p "$last/thirdparty/llama.cpp/build"
    cd "$last/thirdparty/llama.cpp/build"
    [ -e 1.cpp.o ] && touch 2.cpp.o
    touch 1.cpp.o
    echo "generator $CMAKE_GENERATOR"
    echo 'error: boom'
    exit 1;;
esac
"""


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Builds the native engine with that pip; returns what it says when it fails."""
    archive = tmp_path / f"xllamacpp-{wheel_version()}.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        entry = tarfile.TarInfo(f"xllamacpp-{wheel_version()}/setup.py")
        file.addfile(entry, io.BytesIO())
    python = tmp_path / "python"
    python.write_text(PIP.format(archive=archive, log=tmp_path / "calls"))
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    monkeypatch.setattr("corral.runner.engines.build.toolchain.builders_are_missing", lambda: False)

    def run(clean: bool = False) -> str:
        with pytest.raises(EngineSetupError) as caught:
            build_engine(tmp_path, clean=clean)
        return f"{caught.value} {caught.value.hint}"

    return run


@pytest.mark.process
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_a_build_that_fails_is_gone_on_with(
    tmp_path: Path, build: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last words are told, the log is named, the build that was there stays, and so does what was compiled."""
    folder = put_native(tmp_path, wheel_version())
    objects = tmp_path / "engines/.build-native" / OBJECTS
    first = build()
    assert "error: boom" in first
    assert "build.log" in first
    assert "--clean" not in first
    assert "generator Ninja" in (tmp_path / "engines/build.log").read_text()
    assert (folder / "build.json").exists()
    assert sorted(os.listdir(folder.parent)) == [".build-native", ".lock", "build.log", "native"]
    assert os.listdir(objects) == ["1.cpp.o"]
    assert "corral engine build native --clean" in build()
    assert sorted(os.listdir(objects)) == ["1.cpp.o", "2.cpp.o"]
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_OPENMP=OFF")
    build()
    assert os.listdir(objects) == ["1.cpp.o"], "another option begins anew"
    calls = (tmp_path / "calls").read_text()
    assert calls.count(" download ") == 1, "the source is fetched once"
    build(clean=True)
    assert (tmp_path / "calls").read_text().count(" download ") == 2


@pytest.mark.process
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_a_source_that_does_not_come_leaves_nothing(tmp_path: Path, build: Callable[..., str]) -> None:
    (tmp_path / f"xllamacpp-{wheel_version()}.tar.gz").unlink()
    assert "the source of the engine did not come" in build()
    assert sorted(os.listdir(tmp_path / "engines")) == [".lock", "build.log"]


def macros(monkeypatch: pytest.MonkeyPatch, version: int, more: str = "") -> None:
    text = f"#define VK_HEADER_VERSION {version}\n{more}\n"
    monkeypatch.setattr(vulkanheaders, "header_macros", lambda _header: text)


def test_headers_of_vulkan_that_are_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler would say so when all shaders are made, half an hour later."""
    for version in (0, 204, 238):
        macros(monkeypatch, version)
        with pytest.raises(
            EngineSetupError, match=rf"too old \({version or 'unknown'}, 239 or newer"
        ) as caught:
            vulkanheaders.check_headers()
        assert "VULKAN_SDK" in caught.value.hint
    for version in (239, 271, 309):
        macros(monkeypatch, version)
        vulkanheaders.check_headers()
    macros(monkeypatch, 0, "#define VK_EXT_layer_settings 1")
    vulkanheaders.check_headers()


def test_new_headers_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    macros(monkeypatch, 309, "#define VK_EXT_layer_settings 1")
    assert toolchain.vulkan_tools(tmp_path).env == {"XLLAMACPP_BUILD_VULKAN": "1"}
    assert os.listdir(tmp_path) == []


# What the engine's source does with it.
USE = """
#include <vulkan/vulkan.hpp>
static_assert(sizeof(vk::LayerSettingEXT) == 32, "VkLayerSettingEXT");
static_assert(sizeof(vk::LayerSettingsCreateInfoEXT) == 32, "VkLayerSettingsCreateInfoEXT");
int main() {
    uint32_t on = 1;
    std::vector<vk::LayerSettingEXT> settings = {{"layer", "setting", vk::LayerSettingTypeEXT::eBool32, 1, &on}};
    vk::LayerSettingsCreateInfoEXT info(settings);
    return info.settingCount == 1 && info.pSettings == settings.data() && !info.pNext
        && static_cast<int>(info.sType) == 1000496000 ? 0 : 1;
}
"""


@pytest.mark.process
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_what_old_headers_lack_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a header that includes the machine's own, wherever CMake looks for that."""
    macros(monkeypatch, 239)
    machine = tmp_path / "machine/vulkan"
    machine.mkdir(parents=True)
    (machine / "vulkan.hpp").write_text(
        "#pragma once\n#include <cstdint>\n#define VULKAN_HPP_NAMESPACE vk\n"
        "namespace vk { enum class StructureType { eApplicationInfo = 0 }; }\n"
    )
    monkeypatch.setenv("CPATH", str(machine.parent))
    env = toolchain.vulkan_tools(tmp_path).env
    source, program = tmp_path / "use.cpp", tmp_path / "use"
    source.write_text(USE)
    for flags in ([], ["-isystem", str(machine.parent)]):
        command = ["c++", "-std=c++17", "-Wpedantic", "-Werror", *flags, str(source), "-o", str(program)]
        done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert subprocess.run([str(program)], check=False).returncode == 0
