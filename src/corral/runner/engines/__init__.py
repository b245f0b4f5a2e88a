"""Builds of the engine on this machine: which there are, which one serves, and how another is made."""
