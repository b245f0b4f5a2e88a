"""The server's certificate: read from files, checked before it is used, and read again when the files change.

A handshake uses the context that is current at its beginning. New files are read into a new context; if anything is
wrong with them, the old one stays.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from corral.errors import CorralError

_log = logging.getLogger("corral.tls")


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files. With `client_ca`, clients need a certificate that one of its authorities has signed."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def stamps(self) -> tuple[tuple[int, int, int], ...]:
        """What changes when a file is replaced or written."""
        return tuple(_stamp(path) for path in (self.cert, self.key, self.client_ca) if path is not None)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        info = path.stat()
    except OSError:
        return (0, 0, 0)
    return (info.st_ino, info.st_size, info.st_mtime_ns)


class CertificateError(CorralError):
    """The certificate, the key or the authorities cannot be used."""


class Certificates:
    """Holds the current context.

    Raises:
        CertificateError: the files cannot be used at the start.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._stamps = files.stamps()
        self.context = make_context(files)

    def use(self, files: CertificateFiles, context: ssl.SSLContext) -> None:
        """Use other files, whose context was made before."""
        self._files, self._stamps, self.context = files, files.stamps(), context

    def refresh(self) -> None:
        """Read the files again if they have changed. Blocks on the disk."""
        stamps = self._files.stamps()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self.context = make_context(self._files)
        except CertificateError as exc:
            _log.warning("the certificate stays as it was: %s", exc)
        else:
            _log.info("new certificate cert=%s", self._files.cert)


def make_context(files: CertificateFiles) -> ssl.SSLContext:
    """A context for servers.

    Raises:
        CertificateError: a file is missing or invalid, or the key is not that of the certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for path in (files.cert, files.key, files.client_ca):
        if path is not None:
            _check_readable(path)
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_password)
    except ssl.SSLError as exc:
        reason = "the key is not that of the certificate" if "MISMATCH" in str(exc) else "not valid PEM files"
        raise CertificateError(f"{files.cert} and {files.key}: {reason}", hint=_HINT) from exc
    except (OSError, ValueError) as exc:
        raise CertificateError(f"{files.cert} and {files.key}: {exc}", hint=_HINT) from exc
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except (ssl.SSLError, OSError) as exc:
            raise CertificateError(f"{files.client_ca}: not valid PEM certificates", hint=_HINT) from exc
        context.verify_mode = ssl.CERT_REQUIRED
    return context


_HINT = "correct the files or the settings CORRAL_TLS_CERT, CORRAL_TLS_KEY and CORRAL_TLS_CLIENT_CA"


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as exc:
        raise CertificateError(f"{path}: {(exc.strerror or str(exc)).lower()}", hint=_HINT) from exc


def _no_password() -> str:
    """Instead of a question at the terminal."""
    raise ValueError("the key is protected by a password, which a server cannot type")
