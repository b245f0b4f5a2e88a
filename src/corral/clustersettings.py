"""The settings of many servers behind one address, a part of the table in settingstable.py."""

from __future__ import annotations

from pathlib import Path

from corral import clustervalues, settingvalues
from corral.setting import Setting

CLUSTER_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "CORRAL_CLUSTER_MODE",
        "cluster.mode",
        "cluster_mode",
        clustervalues.mode,
        "off",
        "Be one of several servers that answer together: `peers`, those that are named here; `ray`, those of a Ray "
        "cluster; or `off`",
    ),
    Setting(
        "CORRAL_CLUSTER_PEERS",
        "cluster.peers",
        "cluster_peers",
        clustervalues.peers,
        "",
        "Addresses of the other servers, like `https://10.0.0.2:11434`; this server's own may be among them",
    ),
    Setting(
        "CORRAL_CLUSTER_DNS",
        "cluster.dns",
        "cluster_dns",
        clustervalues.peer,
        "",
        "An address whose name stands for all servers, like `https://corral.internal:11434`: each IP address that it "
        "has is one of them",
    ),
    Setting(
        "CORRAL_CLUSTER_NAME",
        "cluster.name",
        "cluster_name",
        clustervalues.node_name,
        "the host's name",
        "Name of this server among the others, up to 64 letters, digits and `.-_`; the default has the port too, if "
        "that is not 11434",
    ),
    Setting(
        "CORRAL_CLUSTER_KEY_FILE",
        "cluster.key_file",
        "cluster_key_file",
        Path,
        "~/.corral/cluster.key",
        "File with the key that the servers show each other, which `corral cluster key` makes; its owner alone may "
        "read it",
    ),
    Setting(
        "CORRAL_CLUSTER_CA_FILE",
        "cluster.ca_file",
        "cluster_ca_file",
        Path,
        "",
        "Authorities, in PEM, that have signed the certificates of the other servers (default: the system's)",
    ),
    Setting(
        "CORRAL_CLUSTER_BLOCK_CHARS",
        "cluster.block_chars",
        "cluster_block_chars",
        settingvalues.times,
        "512",
        "Length of the pieces, in bytes, by which prompts are compared with those that a server has answered",
    ),
    Setting(
        "CORRAL_CLUSTER_MAX_BLOCKS",
        "cluster.max_blocks",
        "cluster_max_blocks",
        settingvalues.number,
        "128",
        "How many of them are compared at most (0: none, so that prompts do not matter)",
    ),
    Setting(
        "CORRAL_CLUSTER_AFFINITY",
        "cluster.affinity",
        "cluster_affinity",
        clustervalues.share,
        "0.3",
        "The share of a prompt, 0 to 1, that a server has to know to get it for that",
    ),
    Setting(
        "CORRAL_CLUSTER_IMBALANCE_ABS",
        "cluster.imbalance_abs",
        "cluster_imbalance_abs",
        settingvalues.number,
        "4",
        "A server with this many requests more than another, and",
    ),
    Setting(
        "CORRAL_CLUSTER_IMBALANCE_REL",
        "cluster.imbalance_rel",
        "cluster_imbalance_rel",
        clustervalues.ratio,
        "1.5",
        "this many times as many, does not get a request because it knows the prompt",
    ),
    Setting(
        "CORRAL_CLUSTER_RETRIES",
        "cluster.retries",
        "cluster_retries",
        clustervalues.retries,
        "2",
        "How many further servers a request is sent to, 0 to 2, if one fails before its answer has begun",
    ),
    Setting(
        "CORRAL_CLUSTER_WEIGHTS_FROM_PEERS",
        "cluster.weights_from_peers",
        "takes_weights_from_peers",
        settingvalues.boolean,
        "true",
        "Look for models at the other servers before a registry is asked",
    ),
    Setting(
        "CORRAL_CLUSTER_RPC",
        "cluster.rpc",
        "wants_rpc",
        settingvalues.boolean,
        "false",
        "Spread a model over several machines with llama.cpp's RPC; the server does not start with it, because no "
        "engine of Corral has that: a model has to fit on one machine",
    ),
)
