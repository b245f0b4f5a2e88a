"""Comparisons with torch and transformers, which only `./dev parity` installs."""

import pytest

for _module in ("torch", "transformers", "sentencepiece"):
    pytest.importorskip(_module, reason="./dev parity installs what these tests compare with")
