"""Branch coverage of the core by its fast tests: prints what is missing; the bound is in pyproject.toml.

    ./dev coverage [ARGUMENTS OF PYTEST]

Nothing of Corral may be imported before the measurement begins.
"""

from __future__ import annotations

import sys

import coverage
import pytest

from scripts.coremodules import core, files_of_tests


def main() -> int:
    """The status of pytest, or 2 if a branch is missing."""
    measured = coverage.Coverage(data_file=None, branch=True, include=[*core()])
    measured.start()
    status = pytest.main(
        [*files_of_tests(), "-q", "--no-header", "-p", "no:cacheprovider", "-m", "not process", *sys.argv[1:]]
    )
    measured.stop()
    if status != pytest.ExitCode.OK:
        return int(status)
    percent = measured.report(show_missing=True, skip_covered=True)
    wanted = measured.get_option("report:fail_under")
    assert isinstance(wanted, float | int)
    if percent < wanted:
        print(
            f"{percent:.2f} % of the lines and branches of the core are covered by its tests, not {wanted} %"
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
