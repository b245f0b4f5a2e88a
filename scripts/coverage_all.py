"""Line coverage of everything by all tests, those of servers, engines and workers that they start with it.

    ./dev coverage --all [ARGUMENTS OF PYTEST]

A child process measures itself because Python imports `sitecustomize` from PYTHONPATH, which is passed on wherever
the environment of a child is cleaned. One that is killed says nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import coverage

from scripts.coremodules import ROOT

_FOLDER = ROOT / "build" / "coverage"
_WANTED_PERCENT = 95
_SETTINGS = f"""[run]
parallel = true
source_pkgs = corral
data_file = {_FOLDER}/data
concurrency = thread
disable_warnings = no-data-collected, module-not-imported
"""
_START = """import os
os.environ.setdefault("COVERAGE_PROCESS_START", {settings!r})
import coverage
coverage.process_startup()
"""


def main() -> int:
    """The status of pytest, or 2 if too few lines are covered."""
    shutil.rmtree(_FOLDER, ignore_errors=True)
    (_FOLDER / "site").mkdir(parents=True)
    settings = _FOLDER / "settings.ini"
    settings.write_text(_SETTINGS)
    (_FOLDER / "site" / "sitecustomize.py").write_text(_START.format(settings=str(settings)))
    path = os.pathsep.join(filter(None, (str(_FOLDER / "site"), os.environ.get("PYTHONPATH", ""))))
    chosen = sys.argv[1:]
    both = (
        [] if any(not argument.startswith("-") for argument in chosen) else ["-n", "2", "--dist", "loadfile"]
    )
    command = [sys.executable, "-m", "pytest", "-q", *both, *chosen]
    status = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=False).returncode
    measured = coverage.Coverage(config_file=str(settings))
    measured.combine()
    percent = measured.report(show_missing=True, skip_covered=True)
    if status == 0 and not chosen and percent < _WANTED_PERCENT:
        print(f"{percent:.2f} % of all lines are covered, not {_WANTED_PERCENT} %")
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
