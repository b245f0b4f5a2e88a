"""The Homebrew formula, from uv.lock: `python -m scripts.packages.homebrew` writes packaging/homebrew/corral.rb.

Its resources are the wheels that the tests ran with. In the repository the digest of Corral's own wheel is zeros,
because the wheel is built from the repository. `scripts/release` writes the formula with the digest.
"""

from __future__ import annotations

from pathlib import Path

from scripts.packages.lockfile import Wheel, linux, mac, runtime_packages, wheel
from scripts.releasing.versions import version_of

PYTHON = (3, 13)
_ROOT = Path(__file__).resolve().parents[2]
_FILE = Path("packaging", "homebrew", "corral.rb")
_NO_DIGEST = "0" * 64
# The blocks of a formula, and the oldest machine that each stands for. cryptography has no wheels for Intel Macs.
_MACHINES = {
    ("macos", "arm"): mac("arm64", PYTHON, (14, 0)),
    ("linux", "arm"): linux("aarch64", PYTHON, 35),
    ("linux", "intel"): linux("x86_64", PYTHON, 35),
}
_HEAD = """\
# Corral for Homebrew: brew install TAP/corral, with this file as Formula/corral.rb of the tap.
# Generated from uv.lock by `python -m scripts.packages.homebrew`. A release has it with the digest of its wheel.
class Corral < Formula
  include Language::Python::Virtualenv

  desc "Run language models on your own machine: a drop-in replacement for Ollama"
  homepage "https://pypi.org/project/corral/"
  url "https://files.pythonhosted.org/packages/py3/c/corral/corral-{version}-py3-none-any.whl", using: :nounzip
  sha256 "{digest}"
  license "MIT"

  depends_on "python@{python}"

  on_macos do
    depends_on arch: :arm64
  end

"""
_TAIL = """
  def install
    virtualenv_create(libexec, "python{python}", system_site_packages: false, without_pip: false)
    wheels = buildpath/"wheels"
    wheels.mkpath
    resources.each {{ |resource| cp resource.cached_download, wheels/File.basename(resource.url) }}
    cp cached_download, wheels/File.basename(stable.url)
    system libexec/"bin/python", "-m", "pip", "install", "--no-index", "--find-links", wheels, "corral"
    bin.install_symlink libexec/"bin/corral"
    man1.install_symlink libexec/"share/man/man1/corral.1"
    generate_completions_from_executable(bin/"corral", "completion")
  end

  service do
    run [opt_bin/"corral", "serve"]
    keep_alive true
    log_path var/"log/corral.log"
    error_log_path var/"log/corral.log"
  end

  test do
    ENV["OLLAMA_HOST"] = "127.0.0.1:#{{free_port}}"
    server = spawn bin/"corral", "serve"
    sleep 1 until quiet_system bin/"corral", "list"
    system bin/"corral", "pull", "corral-tiny"
    refute_empty shell_output("#{{bin}}/corral run corral-tiny 'What is 7 + 5?'").strip
  ensure
    Process.kill "TERM", server
    Process.wait server
  end
end
"""


def formula(root: Path, digest: str = _NO_DIGEST) -> str:
    """The text of the formula for the version of a checkout."""
    wheels = {
        place: [wheel(package, target) for package in runtime_packages(root / "uv.lock", target)]
        for place, target in _MACHINES.items()
    }
    python = f"{PYTHON[0]}.{PYTHON[1]}"
    everywhere = [one for one in wheels["macos", "arm"] if all(one in each for each in wheels.values())]
    blocks = ["".join(_resource(one, 2) for one in everywhere)]
    for system in ("macos", "linux"):
        parts = [
            f"    on_{kind} do\n"
            + "".join(_resource(one, 6) for one in found if one not in everywhere)
            + "    end\n"
            for (place, kind), found in wheels.items()
            if place == system
        ]
        blocks.append(f"  on_{system} do\n" + "\n".join(parts) + "  end\n")
    head = _HEAD.format(version=version_of(root), digest=digest, python=python)
    return head + "\n".join(blocks) + _TAIL.format(python=python)


def _resource(one: Wheel, indent: int) -> str:
    lines = [
        f'resource "{one.package}" do',
        f'  url "{one.url}", using: :nounzip',
        f'  sha256 "{one.sha256}"',
        "end",
    ]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def write(root: Path) -> None:
    """Write the formula into a checkout."""
    (root / _FILE).write_text(formula(root))


if __name__ == "__main__":
    write(_ROOT)
