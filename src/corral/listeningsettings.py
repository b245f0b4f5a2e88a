"""The settings of where the server listens, and how it stops to; a part of the table in settingstable.py."""

from __future__ import annotations

from pathlib import Path

from corral import settingvalues as values
from corral.setting import Setting

LISTENING_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "CORRAL_HOSTS",
        "server.hosts",
        "hosts",
        values.entries,
        "",
        "Further addresses to listen on, also `unix:///path` for a socket in the file system",
    ),
    Setting(
        "CORRAL_SOCKET_MODE",
        "server.socket_mode",
        "socket_mode",
        values.file_mode,
        "0660",
        "Permissions of sockets in the file system, in octal",
    ),
    Setting(
        "CORRAL_SOCKET_GROUP",
        "server.socket_group",
        "socket_group",
        str,
        "",
        "Group of sockets in the file system, by name or number (default: that of the server)",
    ),
    Setting(
        "CORRAL_REUSE_PORT",
        "server.reuse_port",
        "reuses_port",
        values.boolean,
        "false",
        "Share the port with another server of the same user, so that a new one takes over while the old one drains",
    ),
    Setting(
        "CORRAL_UI_REDIRECT",
        "ui.redirect_root",
        "redirects_root",
        values.boolean,
        "1",
        "Send browsers that open the server's address to the web page at /ui/ (0: they see what programs see)",
    ),
    Setting(
        "CORRAL_UI_TOOL_ORIGINS",
        "ui.tool_origins",
        "tool_origins",
        values.origins,
        "",
        "Other servers that the web page may ask for results of tools, like `https://tools.lan:8443` (default: none)",
    ),
    Setting(
        "CORRAL_TLS_CERT",
        "tls.cert",
        "tls_cert",
        Path,
        "",
        "Certificate with its chain, in PEM; with it, addresses without http:// speak TLS",
    ),
    Setting("CORRAL_TLS_KEY", "tls.key", "tls_key", Path, "", "Private key of the certificate, in PEM"),
    Setting(
        "CORRAL_TLS_CLIENT_CA",
        "tls.client_ca",
        "tls_client_ca",
        Path,
        "",
        "Authorities, in PEM, that have to have signed the certificates of clients (default: none is asked for)",
    ),
    Setting(
        "CORRAL_TLS_SELF_SIGNED",
        "tls.self_signed",
        "is_self_signed",
        values.boolean,
        "false",
        "Speak TLS with a certificate that is made at the start, to try it out",
    ),
    Setting(
        "CORRAL_DRAIN_DELAY",
        "server.drain_delay",
        "drain_delay_ns",
        values.duration,
        "0s",
        "After SIGTERM, keep accepting for this long while /readyz says no, so that load balancers look elsewhere",
    ),
    Setting(
        "CORRAL_DRAIN_TIMEOUT",
        "server.drain_timeout",
        "drain_timeout_ns",
        values.duration,
        "30s",
        "After SIGTERM, let requests run for this long before they end with an error",
    ),
)
