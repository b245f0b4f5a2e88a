"""Which wheel suits which driver and machine, what is missing for a build, and how it is called here."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from corral.gpus import GPU
from corral.runner.engines import cards, cudatoolkit, toolchain
from corral.runner.engines.build import BuildMeter, default_jobs
from corral.runner.engines.distributions import how_to_install, library_hint, package_manager
from corral.runner.engines.folders import EngineSetupError
from corral.runner.engines.pip import without_secrets
from corral.runner.engines.wheels import (
    DEFAULT_INDEX,
    WheelName,
    cuda_folder,
    index_addresses,
    no_wheel_error,
    rocm_folder,
    seen_wheels,
)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize(
    ("driver", "cards", "folder"),
    [
        (None, [], "cu128"),
        ((13, 2), [(9, 0)], "cu132"),
        ((13, 4), [], "cu132"),
        ((13, 0), [(9, 0)], "cu128"),  # the PTX of cu132 needs 13.2
        ((13, 0), [(8, 9)], "cu132"),  # a card with code of its own
        ((13, 0), [(8, 9), (9, 0)], "cu128"),
        ((13, 2), [(6, 1)], "cu128"),  # CUDA 13 dropped Pascal
        ((12, 8), [(9, 0)], "cu128"),
        ((12, 4), [(8, 6)], "cu128"),
        ((12, 4), [(9, 0)], ""),
        ((11, 8), [(8, 6)], ""),
        ((13, 2), [(3, 5)], ""),
    ],
)
def test_the_wheel_for_an_nvidia_driver(
    driver: tuple[int, int] | None, cards: list[tuple[int, int] | None], folder: str
) -> None:
    if folder:
        assert cuda_folder(driver, cards) == folder
        return
    with pytest.raises(EngineSetupError) as caught:
        cuda_folder(driver, cards)
    assert caught.value.hint


def test_the_wheel_for_rocm() -> None:
    assert [rocm_folder(version) for version in ((7, 1, 0), (6, 2), ())] == [
        "rocm-7.2.4",
        "rocm-6.4.1",
        "rocm-7.2.4",
    ]


def test_addresses() -> None:
    """A mirror may have the folders of the original, or be an index itself."""
    assert index_addresses(DEFAULT_INDEX, "cu128") == (f"{DEFAULT_INDEX}/cu128",)
    assert index_addresses("http://m/whl/", "vulkan") == ("http://m/whl/vulkan", "http://m/whl")
    assert without_secrets("https://me:word@host:1/a?b#c") == "https://host:1/a?b"
    assert without_secrets("/a/folder") == "/a/folder"


def test_names_of_wheels() -> None:
    name = WheelName.parse("xllamacpp-2026.10.11549+cu128-cp310-abi3-manylinux_2_35_x86_64.whl")
    assert name == WheelName("xllamacpp", "2026.10.11549", "cp310-abi3-manylinux_2_35_x86_64")
    assert WheelName.parse("xllamacpp-2026.10.11549-1-cp310-abi3-win_amd64.whl") is not None
    assert all(WheelName.parse(text) is None for text in ("", "x.whl", "a-b-c-d-e.whl", "xllamacpp-1.tar.gz"))


def test_what_an_index_has() -> None:
    lines = [
        "  Skipping link: none of the wheel's tags (cp310-abi3-win_amd64) are compatible (run pip debug --verbose to "
        "show compatible tags): https://h/v1/xllamacpp-1.0-cp310-abi3-win_amd64.whl (from https://h/x/)",
        "  Found link https://h/v1/xllamacpp-0.9-cp310-abi3-linux_x86_64.whl (from https://h/x/), version: 0.9",
        "  Found link https://h/numpy-0.9-cp310-abi3-linux_x86_64.whl (from https://h/x/), version: 0.9",
        "Looking in links",
    ]
    seen = seen_wheels(lines)
    assert [(name.version, name.tags) for name in seen] == [
        ("1.0", "cp310-abi3-win_amd64"),
        ("0.9", "cp310-abi3-linux_x86_64"),
    ]
    assert "it has cp310-abi3-win_amd64;" in no_wheel_error("1.0", "https://h", seen, "cuda").hint
    assert "it has 1.0, 0.9" in str(no_wheel_error("2.0", "https://h", seen, "cuda"))


@pytest.mark.parametrize(
    ("release", "manager", "command"),
    [
        ("ID=debian\n", "apt", "apt install g++ glslc spirv-headers"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "apt", "apt install g++ glslc spirv-headers"),
        ("ID=fedora\n", "dnf", "dnf install gcc-c++ glslc spirv-headers-devel"),
        (
            'ID="rocky"\nID_LIKE="rhel centos fedora"\n',
            "dnf",
            "dnf install gcc-c++ glslc spirv-headers-devel",
        ),
        ("ID=arch\n", "pacman", "pacman -S gcc shaderc spirv-headers"),
        (
            'ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n',
            "zypper",
            "zypper install gcc-c++ shaderc spirv-headers",
        ),
        ("ID=alpine\n", "apk", "apk add g++ shaderc spirv-headers"),
        ("ID='odd\n", "", "install a C++ compiler; install glslc; install spirv-headers"),
        ("", "", "install a C++ compiler; install glslc; install spirv-headers"),
    ],
)
def test_packages_of_distributions(tmp_path: Path, release: str, manager: str, command: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(f'NAME="x y"\n{release}')
    assert package_manager(tmp_path) == manager
    assert how_to_install(["c++", "glslc", "spirv"], tmp_path).endswith(command)


def test_libraries_that_are_missing(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("ID=debian\n")
    assert "apt install libvulkan1" in library_hint("ImportError: libvulkan.so.1: cannot open", tmp_path)
    assert "rocm.docs.amd.com" in library_hint("libamdhip64.so.6: cannot open", tmp_path)
    assert library_hint("some other error", tmp_path) == ""


def test_architectures_of_nvidia() -> None:
    card = GPU(0, "NVIDIA H200", "cuda", 1, 1, compute=(9, 0))
    assert toolchain.cuda_architectures("", (card, card), 13) == ("90-real",)
    assert toolchain.cuda_architectures("9.0, sm_89 120a;80-virtual", (), 13) == (
        "90-real",
        "89-real",
        "120a-real",
        "80-virtual",
    )
    assert toolchain.cuda_architectures("61", (), 12) == ("61-real",)
    for arch, major, message in (
        ("", 13, "no NVIDIA card"),
        ("gfx1100", 13, "is not an architecture of NVIDIA"),
        ("61", 13, "CUDA 13 cannot compile for 61"),
        ("90;rm -rf", 13, "is not an architecture"),
    ):
        with pytest.raises(EngineSetupError, match=message) as caught:
            toolchain.cuda_architectures(arch, (), major)
        assert caught.value.hint


@pytest.mark.process
def test_architectures_of_amd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From what the kernel says of its nodes; the processor is one too."""
    nodes = tmp_path / "sys/class/kfd/kfd/topology/nodes"
    for number, version in enumerate((0, 110000, 90010, 100302, 110000)):
        (nodes / str(number)).mkdir(parents=True)
        (nodes / str(number) / "properties").write_text(f"cpu_cores_count 8\ngfx_target_version {version}\n")
    assert toolchain.kfd_targets(tmp_path) == ("gfx1100", "gfx90a", "gfx1032")
    script(tmp_path / "rocm/bin/hipcc", "")
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "rocm"))
    tools = toolchain.rocm_tools("", tmp_path)
    assert tools.env["AMDGPU_TARGETS"] == "gfx1100;gfx90a;gfx1032"
    assert toolchain.rocm_tools("gfx942").architectures == ("gfx942",)
    with pytest.raises(EngineSetupError, match="no card of AMD"):
        toolchain.rocm_tools("", tmp_path / "none")
    with pytest.raises(EngineSetupError, match="is not an architecture of AMD"):
        toolchain.rocm_tools("90")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose tools are the scripts of one folder."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("VULKAN_SDK", "CUDA_PATH", "CUDA_HOME", "CUDACXX", "ROCM_PATH", "HIP_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(toolchain, "_CUDA_ROOTS", ())
    monkeypatch.setattr(toolchain, "_ROCM_ROOTS", ())
    return tmp_path


@pytest.mark.process
def test_all_that_is_missing_is_named_at_once(bare: Path) -> None:
    with pytest.raises(EngineSetupError) as caught:
        toolchain.check_tools("vulkan")
    for text in ("no C++ compiler", "no glslc", "no headers of SPIR-V"):
        assert text in str(caught.value)
    with pytest.raises(EngineSetupError, match="no hipcc"):
        toolchain.check_tools("rocm")


@pytest.mark.process
def test_cuda_toolkits(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without cuBLAS does not count; a script that calls the real nvcc is followed."""
    assert toolchain.cuda_root() == (None, "no nvcc found")
    real = bare / "cuda-13.0"
    script(real / "bin/nvcc", "echo 'Cuda compilation tools, release 13.0, V13.0.88'")
    script(bare / "bin/nvcc", f"echo '#$ TOP={real}/bin/..'")
    root, problem = toolchain.cuda_root()
    assert root is None
    assert problem == f"the CUDA toolkit in {real} does not have cuBLAS"
    (real / "lib64").mkdir()
    (real / "lib64/libcublas.so").write_text("")
    (real / "include").mkdir()
    (real / "include/cublas_v2.h").write_text("")
    assert toolchain.cuda_root() == (real, "")
    assert toolchain.cuda_version(real) == (13, 0)
    variables = toolchain.cuda_variables(real, ("90-real", "89-real"))
    assert variables["CUDA_ARCHITECTURES"] == "90-real;89-real"
    assert variables["LD_RUN_PATH"] == str(real / "lib64")


@pytest.mark.process
def test_a_driver_that_is_too_old_for_the_compiler_of_pypi(tmp_path: Path) -> None:
    """Nothing is fetched: what it compiles could not run."""
    with pytest.raises(EngineSetupError, match=r"supports 12\.8") as caught:
        cudatoolkit.fetch_toolkit(
            tmp_path / "cuda", tmp_path, tmp_path / "log", "no nvcc found", (12, 8), lambda _line: None
        )
    assert "580" in caught.value.hint
    assert os.listdir(tmp_path) == []


@pytest.mark.process
def test_what_nvidia_smi_says(bare: Path) -> None:
    assert cards.driver_version() is None
    for line, version in (
        ("| NVIDIA-SMI 580.65.06   Driver Version: 580.65.06   CUDA Version: 13.0     |", (13, 0)),
        ("| NVIDIA-SMI 610.10      Driver Version: 610.10      CUDA UMD Version: 13.4 |", (13, 4)),
    ):
        script(bare / "bin/nvidia-smi", f"echo '{line}'")
        assert cards.driver_version() == version


@pytest.mark.process
def test_the_engine_for_the_cards(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("ctypes.util.find_library", lambda _name: None)

    def card(vendor: str) -> Path:
        folder = bare / vendor / "sys/bus/pci/devices/0000:01:00.0"
        folder.mkdir(parents=True)
        (folder / "class").write_text("0x030000\n")
        (folder / "vendor").write_text(f"{vendor}\n")
        return bare / vendor

    assert cards.advise(bare).name == ""
    assert "no graphics card" in cards.advise(bare).reason
    assert cards.advise(card("0x8086")).name == "vulkan"
    amd = card("0x1002")
    assert cards.advise(amd).name == "vulkan"
    script(bare / "bin/hipcc", "")
    assert cards.advise(amd).name == "rocm"
    assert "does not answer" in cards.advise(card("0x10de")).reason
    script(bare / "bin/nvidia-smi", "echo '0, 00000000:01:00.0, 9.0, NVIDIA H200, 143771, 140000'")
    advice = cards.advise(bare)
    assert (advice.name, advice.reason) == ("cuda", "NVIDIA H200: CUDA")
    script(bare / "bin/rocminfo", "")
    (bare / ".info").mkdir()
    (bare / ".info/version").write_text("6.4.1-83\n")
    assert cards.rocm_version() == (6, 4, 1)
    assert cards.index_folder("rocm") == "rocm-6.4.1"
    assert cards.index_folder("vulkan") == "vulkan"


def test_jobs_fit_into_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    monkeypatch.setattr("corral.runner.engines.build.read_memory", lambda: (64 << 30, 10 << 30))
    assert (default_jobs("native"), default_jobs("cuda")) == (16, 3)
    monkeypatch.setattr("corral.runner.engines.build.read_memory", lambda: (1 << 30, 1 << 30))
    assert default_jobs("cuda") == 1


def test_progress_of_a_gpu_build() -> None:
    """A file of the GPU's costs more than one of C++."""
    heard: list[float] = []
    meter = BuildMeter("cuda", lambda share, _line: heard.append(share))
    meter.read("[  1%] Building CXX object a.o")
    one = heard[-1] - 0.05
    meter.read("[  2%] Building CUDA object b.o")
    assert heard[-1] - 0.05 == pytest.approx(7 * one)
