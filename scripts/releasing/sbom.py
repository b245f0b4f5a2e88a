"""The bill of materials: CycloneDX, written by uv from uv.lock, and the same for the same commit."""

from __future__ import annotations

import json
import subprocess
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.releasing.tools import Tools

_ADDRESS = "https://pypi.org/project/corral/"


def bill_of_materials(root: Path, version: str, epoch: int, tools: Tools) -> dict[str, Any]:
    """Everything that `pip install corral` brings, in the versions that the tests ran with."""
    command = [str(tools.uv), "export", "--frozen", "--offline", "--no-config", "--no-dev", "--quiet"]
    command += ["--format", "cyclonedx1.5", "--preview-features", "sbom-export"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return fixed(json.loads(done.stdout), version, epoch)


def fixed(bill: dict[str, Any], version: str, epoch: int) -> dict[str, Any]:
    """The bill with Corral's version, and without a random number and the time of day."""
    metadata = bill["metadata"]
    metadata["timestamp"] = datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z")
    metadata["component"] |= {"version": version, "type": "application", "purl": f"pkg:pypi/corral@{version}"}
    bill.pop("serialNumber", None)
    text = json.dumps(bill, sort_keys=True)
    return {
        **bill,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{_ADDRESS}{version}/{text}')}",
    }
