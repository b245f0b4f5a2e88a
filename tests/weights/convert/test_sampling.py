"""What generation_config.json recommends reaches the model file, and from there the defaults of requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corral.inference.recommended import recommended_parameters
from corral.weights.convert import convert_model
from corral.weights.gguf import GGUFFile
from tests.doubles.sentence_model import model_files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        (
            {"do_sample": True, "temperature": 0.5, "top_k": 20, "top_p": 0.75, "repetition_penalty": 1.25},
            {"temperature": 0.5, "top_k": 20, "top_p": 0.75, "repeat_penalty": 1.25},
        ),
        ({"do_sample": True, "temperature": "hot", "top_k": -1, "top_p": None, "min_p": True}, {}),
        ({"do_sample": False, "temperature": 0.5}, {}),
        ({"temperature": 0.5}, {}),
    ],
)
def test_recommended_sampling(tmp_path: Path, generation: dict[str, Any], expected: dict[str, Any]) -> None:
    """Numbers of models that are sampled from; nothing else."""
    place = tmp_path / "generation_config.json"
    place.write_text(json.dumps(generation))
    destination = tmp_path / "m.gguf"
    convert_model({**model_files(), place.name: place}, destination)
    assert recommended_parameters(GGUFFile.open(destination)) == expected
