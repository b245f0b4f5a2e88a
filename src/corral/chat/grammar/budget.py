"""What the conversion of one schema may cost, counted in steps, so that it does not depend on the machine."""

from __future__ import annotations

# A step is about a microsecond. The quick budget is for the event loop, the full one for a worker.
QUICK_STEPS = 15_000
FULL_STEPS = 1_500_000


class WorkLimitError(OverflowError):
    """The conversion would take more work than it may."""


class Budget:
    """Steps that are left. `spend` is called before the work that it counts."""

    __slots__ = ("left",)

    def __init__(self, steps: int = FULL_STEPS) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Raises WorkLimitError when there are not so many left."""
        self.left -= steps
        if self.left < 0:
            raise WorkLimitError("the schema is too large or too intricate")
