"""Comparisons with torch and transformers, which only `./dev parity` installs."""

import pytest

for _module in ("torch", "transformers", "sentencepiece"):
    pytest.importorskip(_module, reason="./dev parity installs what these tests compare with")

import torch  # noqa: E402

# Models this small only wait for more threads, on a busy machine for minutes.
torch.set_num_threads(1)
