"""Whole parts of Corral in virtual time, with faults from a seed; see docs/testing.md."""
