"""The table of the core, and what its mutation tool changes."""

from __future__ import annotations

from scripts.coremodules import core, files_of_tests
from scripts.mutation.kept import equivalent
from scripts.mutation.sites import mutants

SOURCE = '''
"""Words of a module stay."""
LIMIT = 4

def f(a, b=True):
    """Words of a function stay."""
    if a and not b:
        raise ValueError("a text for people")
    return a < LIMIT
'''


def test_the_table_names_files_that_are_there() -> None:
    """`core` raises if not."""
    assert {"src/corral/digest.py", "src/corral/scheduler/state.py"} <= set(core())
    assert "tests/test_names.py" in files_of_tests()


def test_what_is_changed() -> None:
    assert [mutant.key for mutant in mutants(SOURCE)] == [
        "module: LIMIT = 4 -> LIMIT = 5",
        "f(): def f(a, b=True): -> def f(a, b=False):",
        "f(): if a and (not b): -> if a or not b:",
        "f(): if a and (not b): -> if a and b:",
        "f(): raise ValueError('a text for people') -> pass",
        "f(): return a < LIMIT -> return None",
        "f(): return a < LIMIT -> return a <= LIMIT",
    ]


def test_changes_that_mean_the_same_are_of_the_core() -> None:
    assert equivalent("digest.py")
