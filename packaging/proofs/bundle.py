"""What compose.yaml asks for as an OCI runtime configuration. `bundle.py ROOT DATA` prints it as JSON."""

import json
import sys

ENV = [
    "PATH=/opt/corral/bin:/usr/local/bin:/usr/bin:/bin",
    "HOME=/data",
    "CORRAL_HOME=/data/corral",
    "OLLAMA_MODELS=/data/models",
    "OLLAMA_HOST=0.0.0.0:11434",
    "PYTHONDONTWRITEBYTECODE=1",
]


def configuration(root: str, data: str) -> dict[str, object]:
    """Read-only, user 10001, no capabilities, no new privileges; /data and a small /tmp can be written."""
    names = ("pid", "ipc", "uts", "mount", "network")
    tmpfs = {"type": "tmpfs", "source": "tmpfs"}
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 10001, "gid": 10001},
            "args": ["/usr/bin/tini", "--", "corral", "serve"],
            "env": ENV,
            "cwd": "/",
            "noNewPrivileges": True,
            "capabilities": {name: [] for name in ("bounding", "effective", "permitted", "inheritable")},
        },
        "root": {"path": root, "readonly": True},
        "hostname": "corral",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", **tmpfs, "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/dev/shm", **tmpfs, "options": ["nosuid", "noexec", "mode=1777"]},
            {"destination": "/tmp", **tmpfs, "options": ["nosuid", "nodev", "mode=1777", "size=256m"]},
            {"destination": "/data", "type": "bind", "source": data, "options": ["rbind", "rw"]},
        ],
        "linux": {"namespaces": [{"type": name} for name in names]},
    }


if __name__ == "__main__":
    print(json.dumps(configuration(*sys.argv[1:3]), indent=1))
