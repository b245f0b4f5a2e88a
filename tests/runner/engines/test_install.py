"""Engines from an index on loopback: what arrives is proven before it replaces anything; failures change nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.digest import hash_file
from corral.runner.engines.choice import find_engine, wheel_version
from corral.runner.engines.facts import EngineFacts, read_facts, write_facts
from corral.runner.engines.folders import EnginesBusyError, EngineSetupError, engine_folder, locked
from corral.runner.engines.install import install_engine
from tests.doubles.wheel_index import SMALL, WheelIndex, real_wheel, small_wheel

pytestmark = pytest.mark.process

OLD = EngineFacts("cuda", "2020.1.1", "cuda", "wheel", "old.whl", "sha256:00")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("PIP_RETRIES", "0")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_wheel(tmp_path_factory.mktemp("wheels"))


@pytest.fixture
def index(wheel: Path) -> Iterator[WheelIndex]:
    with WheelIndex(wheel) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with an engine of before, which must survive every failure."""
    folder = engine_folder(tmp_path / "home", "cuda")
    folder.mkdir(parents=True)
    write_facts(folder, OLD)
    return tmp_path / "home"


def refused(home: Path, address: str = "", wheel: Path | None = None) -> EngineSetupError:
    """Install, expect an error, and make sure that nothing has changed."""
    with pytest.raises(EngineSetupError) as caught:
        install_engine(home, "cuda", addresses=(address,) if address else (), wheel=wheel)
    assert read_facts(engine_folder(home, "cuda"), "cuda") == OLD
    assert {name for name in os.listdir(home / "engines") if name != "install.log"} == {".lock", "cuda"}
    return caught.value


def test_the_real_engine(tmp_path: Path) -> None:
    """The wheel that is installed here, through an index: fetched, proven, recorded, and found."""
    path = real_wheel(tmp_path / "wheels")
    heard: list[tuple[float, str]] = []
    with WheelIndex(path, digest=hash_file(path).hex) as index:
        facts = install_engine(
            tmp_path / "home",
            "vulkan",
            addresses=(index.address,),
            on_progress=lambda share, text: heard.append((share, text)),
        )
        assert facts.origin == index.address
    assert (facts.version, facts.backend, facts.source) == (wheel_version(), "vulkan", "index")
    assert facts.digest == str(hash_file(path))
    assert "CPU :" in facts.features
    assert [device.kind for device in facts.devices] == ["cpu"]
    found = find_engine("vulkan", tmp_path / "home")
    assert found.facts == facts
    assert found.package_folder is not None
    assert (found.package_folder / "xllamacpp" / "xllamacpp.abi3.so").is_file()
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_an_engine_with_a_card_replaces_the_old_one(home: Path, index: WheelIndex) -> None:
    facts = install_engine(home, "cuda", addresses=(index.address,))
    assert facts.has_gpu
    assert read_facts(engine_folder(home, "cuda"), "cuda") == facts
    assert sorted(os.listdir(home / "engines")) == [".lock", "cuda", "install.log"]


def test_from_a_file_and_from_a_folder(home: Path, wheel: Path) -> None:
    """Machines without a network."""
    assert install_engine(home, "cuda", wheel=wheel).source == "wheel"
    assert install_engine(home, "rocm", addresses=(str(wheel.parent),)).source == "index"


def test_other_sources_of_pip_are_not_asked(
    home: Path, index: WheelIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configured index may have the same version for processors only."""
    with WheelIndex(small_wheel(tmp_path / "other", source="raise ImportError('the wrong one')")) as other:
        configuration = tmp_path / "pip.conf"
        configuration.write_text(
            f"[global]\nindex-url = {other.address}\nextra-index-url = {other.address}\nno-index = true\n"
            f"find-links = {tmp_path / 'other'}\nuser = true\n"
        )
        monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "other"))
        assert install_engine(home, "cuda", addresses=(index.address,)).has_gpu
        assert other.requests == []


def test_the_progress_of_a_download(home: Path, index: WheelIndex, tmp_path: Path) -> None:
    """While half of it is here, about half is shown."""
    big = small_wheel(tmp_path / "big", source=f"FILL = {'x' * 4_000_000!r}\n{SMALL}")
    index.paths = {big.name: big}
    index.holds = True
    heard: list[tuple[float, str]] = []

    def hear(share: float, text: str) -> None:
        heard.append((share, text))
        if share > 0.3:
            index.holds = False
            index.release.set()

    assert install_engine(home, "cuda", addresses=(index.address,), on_progress=hear).has_gpu
    first = next((share, text) for share, text in heard if share > 0.3)
    assert first[0] == pytest.approx(0.85 / 2, abs=0.1)
    assert first[1].startswith("downloading 2 of 4 MB")


def test_an_interrupted_download_is_tried_again(home: Path, index: WheelIndex) -> None:
    index.cuts = 1
    assert install_engine(home, "cuda", addresses=(index.address,)).has_gpu


def test_a_download_that_always_breaks_off(home: Path, index: WheelIndex) -> None:
    index.cuts = 1000
    error = refused(home, index.address)
    assert "interrupted" in str(error) or "damaged" in str(error)
    assert "nothing was changed" in error.hint


def test_a_wrong_digest(home: Path, index: WheelIndex) -> None:
    index.digest = "0" * 64
    error = str(refused(home, index.address))
    (wheel,) = index.paths.values()
    assert f"is damaged: its sha256 is {hash_file(wheel).hex}, the index says {'0' * 64}" in error


def test_a_damaged_file(home: Path, wheel: Path, tmp_path: Path) -> None:
    """Cut off, with a changed byte, or something else altogether."""
    data = wheel.read_bytes()
    path = tmp_path / wheel.name
    place = data.index(b"NVIDIA H200")
    for damaged in (data[: len(data) // 2], data.replace(b"NVIDIA H200", b"NVIDIA H20O"), b"", b"<html>"):
        path.write_bytes(damaged)
        assert "damaged" in str(refused(home, wheel=path)), place


def test_files_that_are_no_engine(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "numpy-1.0-py3-none-any.whl"
    other.write_bytes(b"")
    assert "is not a wheel of xllamacpp" in str(refused(home, wheel=other))
    assert "is not a file" in str(refused(home, wheel=tmp_path / "none.whl"))
    old = small_wheel(tmp_path, version="2026.1.1")
    assert f"has version 2026.1.1, Corral needs {wheel_version()}" in str(refused(home, wheel=old))


def test_wheels_for_other_machines(home: Path, tmp_path: Path) -> None:
    """What there is instead is named, and what helps."""
    foreign = [
        small_wheel(tmp_path, tags=tags) for tags in ("cp310-abi3-win_amd64", "cp310-abi3-macosx_13_0_arm64")
    ]
    with WheelIndex(*foreign) as index:
        error = refused(home, index.address)
    assert "there is no wheel of xllamacpp" in str(error)
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in str(error)
    assert "cp310-abi3-win_amd64, cp310-abi3-macosx_13_0_arm64" in error.hint
    assert "corral engine build cuda" in error.hint
    assert "is not for Python" in str(refused(home, wheel=foreign[0]))


def test_wheels_of_other_versions(home: Path, tmp_path: Path) -> None:
    with WheelIndex(small_wheel(tmp_path, version="2026.1.1")) as index:
        error = refused(home, index.address)
    assert "needs exactly this version, it has 2026.1.1" in str(error)


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "no wheel of xllamacpp was found"), (403, "refuses access"), (401, "refuses access")],
)
def test_an_index_that_refuses(home: Path, index: WheelIndex, status: int, message: str) -> None:
    index.status = status
    assert message in str(refused(home, index.address))


def test_an_index_that_is_not_there(home: Path) -> None:
    error = refused(home, "http://127.0.0.1:1/whl")
    assert "cannot be reached" in str(error)
    assert "--wheel" in error.hint


def test_the_next_address_is_tried(home: Path, index: WheelIndex, tmp_path: Path) -> None:
    """A mirror without the folders of the original."""
    with WheelIndex() as empty:
        assert install_engine(home, "cuda", addresses=(empty.address, index.address)).origin == index.address


def test_an_address_with_a_password(home: Path, index: WheelIndex) -> None:
    """It is used, and neither recorded nor logged."""
    address = index.address.replace("http://", "http://me:s3cret@")
    assert install_engine(home, "cuda", addresses=(address,)).origin == index.address
    for path in (home / "engines" / "install.log", engine_folder(home, "cuda") / "build.json"):
        assert "s3cret" not in path.read_text()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ImportError('libvulkan.so.1: cannot open shared object file')", "libvulkan.so.1"),
        ("import os; os.abort()", "cannot be imported"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
            "instructions that this CPU does not have",
        ),
        ("def get_system_info(): return ''", "cannot list its devices"),
    ],
)
def test_an_engine_that_does_not_work_here(home: Path, tmp_path: Path, source: str, message: str) -> None:
    assert message in str(refused(home, wheel=small_wheel(tmp_path, source=source)))


def test_without_a_driver(tmp_path: Path) -> None:
    """As in a container that gets its card later: installed, marked, and never in place of one that was tried."""
    source = "raise ImportError('libcuda.so.1: cannot open shared object file: No such file or directory')"
    blind = small_wheel(tmp_path / "blind", source=source)
    assert "no NVIDIA driver" in install_engine(tmp_path, "cuda", wheel=blind).unproven
    proven = install_engine(tmp_path, "cuda", wheel=small_wheel(tmp_path / "seeing"))
    with pytest.raises(EngineSetupError, match="The one that is here stays"):
        install_engine(tmp_path, "cuda", wheel=blind)
    assert read_facts(engine_folder(tmp_path, "cuda"), "cuda") == proven


def test_a_full_disk(
    home: Path, index: WheelIndex, tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is fetched, and while it is unpacked: a file of pip may not grow beyond what is there."""
    big = small_wheel(tmp_path / "big", source="# " + "x" * 200_000 + "\nraise ImportError('too far')\n")
    index.paths = {big.name: big}
    monkeypatch.setattr("corral.runner.engines.pip._GUARD", _with_small_files())
    for arguments in ({"address": index.address}, {"wheel": big}):
        assert "not enough space" in str(refused(home, **arguments))


def _with_small_files() -> str:
    """The guard of pip, with a limit on the size of files: their writes fail as on a full disk."""
    from corral.runner.engines.pip import _GUARD

    limit = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    return limit + "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n" + _GUARD


def test_two_at_once(home: Path, index: WheelIndex) -> None:
    """The second is refused while the first downloads, and does not disturb it."""
    index.holds = True
    with _installing(home, index) as process:
        assert index.started.wait(60)
        with pytest.raises(EnginesBusyError, match=str(process.pid)):
            install_engine(home, "rocm", addresses=(index.address,))
        index.release.set()
        index.holds = False
        process.communicate(timeout=120)
    assert not engine_folder(home, "rocm").exists()


def test_killed_in_the_middle(home: Path, index: WheelIndex) -> None:
    """The old engine stays, pip ends too, and the next installation clears away what is left."""
    index.holds = True
    with _installing(home, index) as process:
        assert index.started.wait(60)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)  # ends when pip, which holds the same output, has ended
    assert (home / "engines" / ".new-cuda").is_dir()
    assert read_facts(engine_folder(home, "cuda"), "cuda") == OLD
    index.holds = False
    assert install_engine(home, "cuda", addresses=(index.address,)).has_gpu
    assert sorted(os.listdir(home / "engines")) == [".lock", "cuda", "install.log"]


def _installing(home: Path, index: WheelIndex) -> subprocess.Popen[bytes]:
    script = (
        "import sys; from pathlib import Path; from corral.runner.engines.install import install_engine\n"
        "install_engine(Path(sys.argv[1]), 'cuda', addresses=(sys.argv[2],))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, str(home), index.address],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_a_folder_of_another_program(tmp_path: Path, wheel: Path) -> None:
    """What is not understood is not deleted: only names of our own are cleared."""
    other = tmp_path / "engines" / "something"
    other.mkdir(parents=True)
    install_engine(tmp_path, "cuda", wheel=wheel)
    assert other.is_dir()
    with locked(tmp_path):
        assert other.is_dir()
    shutil.rmtree(other)
