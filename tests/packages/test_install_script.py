"""The install script in homes of its own: what it finds, what it refuses, and what it leaves alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "packaging" / "install.sh"
# What the script calls beside Python, uv and pipx.
_NEEDED = (
    "cat chmod date dirname env grep head id ln ls mkdir mv readlink rm rmdir sed sh tail tr uname".split()
)
# Stands for Python: its environments have a pip that takes the newest wheel of a folder, or the version asked for.
_DOUBLE = r"""
case "$*" in
"-c "*) exit 0 ;;
"-m venv "*)
    mkdir -p "$3/bin"
    : >"$3/pyvenv.cfg"
    cat >"$3/bin/python" <<'PIP'
#!/bin/sh
for word in "$@"; do
    case "$before" in --find-links) links=$word ;; esac
    before=$word
done
case "$before" in *==*) version=${before#*==} ;; *)
    for file in "$links"/corral-*.whl; do version=${file##*/corral-} version=${version%%-*}; done ;;
esac
[ -e "$links/corral-$version-py3-none-any.whl" ] || exit 1
printf '#!/bin/sh\necho corral version is %s\n' "$version" >"${0%/python}/corral"
chmod +x "${0%/python}/corral"
PIP
    chmod +x "$3/bin/python"
    ;;
esac
"""
_real = pytest.param(
    True,
    marks=pytest.mark.skipif(
        os.environ.get("CORRAL_TEST_PACKAGES") != "required",
        reason="makes three real environments: ./dev packages runs it",
    ),
)
pytestmark = [pytest.mark.process, pytest.mark.slow]


class Home:
    """A home folder, and the only programs that the script finds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a home"
        self.programs = folder / "programs"
        self.folder.mkdir()
        self.programs.mkdir()
        for name in _NEEDED:
            (self.programs / name).symlink_to(shutil.which(name) or f"/bin/{name}")

    def add(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def add_python(self, is_real: bool = False) -> None:
        self.add("python3", f'exec "{sys.executable}" "$@"' if is_real else _DOUBLE)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {"HOME": str(self.folder), "PATH": str(self.programs), "PIP_NO_INDEX": "1", **variables}
        command = ["/bin/sh", str(SCRIPT), *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def _wheel(folder: Path, version: str) -> None:
    """A package `corral` whose command prints its version: what the script does is the same for the real one."""
    info = f"corral-{version}.dist-info"
    files = {
        "corral.py": f"def main():\n    print('corral version is {version}')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: corral\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ncorral = corral:main\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"corral-{version}-py3-none-any.whl", "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)


def _version(home: Home) -> str:
    done = subprocess.run([home.folder / ".local/bin/corral"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("is_real", [False, _real])
def test_install_update_and_remove(home: Home, tmp_path: Path, is_real: bool) -> None:
    """Without a network; a failed update changes nothing, and removing leaves models and keys."""
    wheels = tmp_path / "some wheels"
    _wheel(wheels, "1.0.0")
    home.add_python(is_real)
    done = home.run("--find-links", str(wheels))
    assert done.returncode == 0, done.stderr
    assert "(corral version is 1.0.0)" in done.stdout and "is not in PATH" in done.stdout
    assert _version(home) == "corral version is 1.0.0"

    failed = home.run("--find-links", str(wheels), "--version", "9.9.9")
    assert failed.returncode == 1 and "what was there before is as it was" in failed.stderr
    assert _version(home) == "corral version is 1.0.0"

    _wheel(wheels, "1.1.0")
    assert home.run("--find-links", str(wheels)).returncode == 0
    assert _version(home) == "corral version is 1.1.0"
    assert len(list((home.folder / ".local/share/corral").glob("env-*"))) == 1

    for name in (".ollama/models/blobs/x", ".corral/key", ".local/share/corral/mine"):
        (home.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (home.folder / name).write_text("kept")
    removed = home.run("--uninstall")
    assert removed.returncode == 0 and "are still there" in removed.stdout
    left = [name for name in home.files() if (home.folder / name).is_file()]
    assert left == [".corral/key", ".local/share/corral/mine", ".ollama/models/blobs/x"]
    again = home.run("--uninstall")
    assert again.returncode == 1 and "is not installed" in again.stderr


@pytest.mark.parametrize(
    ("programs", "arguments", "words"),
    [
        ({}, [], ["Corral needs Python 3.11 or newer; there is no Python", "apt install python3-venv"]),
        (
            {"python3": 'case "$*" in *platform*) echo 3.9.2 ;; *) exit 1 ;; esac'},
            [],
            ["the newest Python here is 3.9.2"],
        ),
        (
            {"python3": 'case "$*" in *venv*) exit 1 ;; *print*) echo 3.11 ;; esac'},
            [],
            ["does not have the venv module", "apt install python3-venv"],
        ),
        ({"uname": "echo FreeBSD"}, [], ["Corral runs on Linux and macOS, this is FreeBSD"]),
        (
            {"uname": 'case "$1" in -s) echo Linux ;; *) echo riscv64 ;; esac'},
            [],
            ["does not run on Linux with a riscv64"],
        ),
        ({"uname": 'case "$1" in -s) echo Darwin ;; *) echo x86_64 ;; esac'}, [], ["Intel processor"]),
        ({"ldd": "echo 'musl libc (x86_64)' >&2; exit 1"}, [], ["musl", "needs glibc"]),
        ({}, ["--with", "conda"], ["--with takes uv, pipx or venv, not conda"]),
        ({}, ["--with", "uv"], ["uv is not installed"]),
        ({}, ["--version"], ["--version needs a value"]),
        ({}, ["--version", "1.0; rm -rf /"], ["is not a version like 0.2.0"]),
        ({}, ["--find-links", "/missing"], ["/missing is not a folder"]),
        ({}, ["--find-links", "/", "--index", "http://127.0.0.1/"], ["exclude each other"]),
        ({}, ["--index", "http://x/'y"], ["with a quote in them"]),
        ({}, ["--fast"], ["unknown option: --fast"]),
    ],
)
def test_refusals(home: Home, programs: dict[str, str], arguments: list[str], words: list[str]) -> None:
    """Each says why and what to do, and leaves nothing behind."""
    for name, text in programs.items():
        (home.programs / name).unlink(missing_ok=True)
        home.add(name, text)
    done = home.run(*arguments)
    assert done.returncode == 1 and home.files() == []
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may write everywhere")
def test_a_home_that_cannot_be_written(home: Home) -> None:
    home.add_python()
    home.folder.chmod(0o555)
    for folder in home.folder.parents:
        if folder.stat().st_uid == os.geteuid() and folder.is_relative_to(tempfile.gettempdir()):
            folder.chmod(folder.stat().st_mode | 0o055)
    env = {"HOME": str(home.folder), "PATH": str(home.programs)}
    # For root, permissions do not count; nobody's do.
    drop = [str(shutil.which("setpriv")), "--reuid=65534", "--regid=65534", "--clear-groups"]
    command = [*(drop if os.geteuid() == 0 else []), "/bin/sh", "-c", SCRIPT.read_text()]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "cannot be written to" in done.stderr, done.stderr
    assert home.files() == []


def test_tools_are_chosen_and_called(home: Home) -> None:
    """uv before pipx before venv; their arguments have the index; a dry run calls neither."""
    home.add_python()
    for name in ("uv", "pipx"):
        home.add(name, f'printf "%s|" {name} "$@" >>"$HOME/called"; echo >>"$HOME/called"')
    dry = home.run("--dry-run", "--version", "1.2.3")
    assert dry.returncode == 0 and "+ uv tool install" in dry.stdout and home.files() == []
    home.run("--index", "http://127.0.0.1:9/a b/")
    home.run("--with", "pipx", "--find-links", str(home.programs))
    called = (home.folder / "called").read_text().splitlines()
    assert called == [
        "uv|tool|install|--force|--python|>=3.11|--default-index|http://127.0.0.1:9/a b/|corral|",
        f"pipx|install|--force|--python|python3|--pip-args|--no-index --find-links '{home.programs}'|corral|",
    ]


def test_a_command_of_somebody_else_stays(home: Home, tmp_path: Path) -> None:
    _wheel(tmp_path / "wheels", "1.0.0")
    home.add_python()
    command = home.folder / ".local/bin/corral"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\necho mine\n")
    done = home.run("--find-links", str(tmp_path / "wheels"))
    assert done.returncode == 1 and "was not made by this script" in done.stderr
    assert home.run("--uninstall").returncode == 1
    assert command.read_text() == "#!/bin/sh\necho mine\n"


def test_half_a_download_does_nothing(home: Home) -> None:
    """Cut anywhere, the script changes nothing: its last line is the first one that acts."""
    home.add_python()
    text = SCRIPT.read_text()
    for part in (3, 2):
        cut = text[: len(text) * (part - 1) // part]
        subprocess.run(
            ["/bin/sh", "-c", cut],
            env={"HOME": str(home.folder), "PATH": str(home.programs)},
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert text.rstrip().endswith('main "$@"') and home.files() == []


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck() -> None:
    root = SCRIPT.parents[1]
    scripts = [
        SCRIPT,
        root / "scripts" / "release",
        *(root / "packaging" / "deb" / name for name in ("postinst", "prerm", "postrm")),
    ]
    done = subprocess.run(
        ["shellcheck", "-e", "SC1091,SC2119", *scripts], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
