"""`cluster key`: makes the file of the key that the servers of a cluster show each other."""

from __future__ import annotations

import sys

from corral.access.clusterkey import write_cluster_key
from corral.clustervalues import MODES
from corral.config import Settings
from corral.homefolder import home_folder


def make_key() -> None:
    """Write the file that the settings name, for its owner alone. The key itself is not shown."""
    settings = Settings.load()
    path = (settings.cluster_key_file or home_folder() / "cluster.key").expanduser()
    write_cluster_key(path)
    print(path)
    print(
        f"Copy this file to the other servers, readable for its owner alone (scp -p), and set"
        f" CORRAL_CLUSTER_MODE={MODES[1]} and CORRAL_CLUSTER_PEERS on all of them.",
        file=sys.stderr,
    )
