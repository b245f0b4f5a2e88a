"""A certificate for trying TLS out: made once, kept in `~/.corral/tls`, trusted by nobody but who is told to."""

from __future__ import annotations

import datetime
import ipaddress
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from corral.disk import make_folders, write_atomically
from corral.operations.certificates import CertificateFiles

if TYPE_CHECKING:
    from cryptography import x509

_VALID = datetime.timedelta(days=365)
_LEAST_LEFT = datetime.timedelta(days=30)


def self_signed(folder: Path, hosts: Iterable[str]) -> CertificateFiles:
    """The files; made again when the certificate is about to expire or does not have one of the hosts.

    Raises:
        OSError: the folder cannot be written.
    """
    files = CertificateFiles(folder / "self-signed.crt", folder / "self-signed.key")
    names = sorted(
        {"localhost", "127.0.0.1", "::1", socket.gethostname().lower(), *hosts} - {"", "0.0.0.0", "::"}
    )
    if not _is_usable(files, names):
        make_folders(folder, mode=0o700)
        key, cert = _make(names)
        write_atomically(files.key, key, mode=0o600)
        write_atomically(files.cert, cert, mode=0o644)
        Path(files.key).chmod(0o600)
    return files


def fingerprint(cert: Path) -> str:
    """SHA-256 of the certificate, as `openssl x509 -fingerprint` prints it."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    digest = x509.load_pem_x509_certificate(cert.read_bytes()).fingerprint(SHA256())
    return ":".join(f"{byte:02X}" for byte in digest)


def _is_usable(files: CertificateFiles, names: list[str]) -> bool:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = x509.load_pem_x509_certificate(files.cert.read_bytes())
        # The two are written one after the other: a crash between them leaves a key of another certificate.
        key = load_pem_private_key(files.key.read_bytes(), None)
        if key.public_key() != found.public_key():
            return False
        known = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    now = datetime.datetime.now(datetime.UTC)
    if not found.not_valid_before_utc <= now <= found.not_valid_after_utc - _LEAST_LEFT:
        return False
    has = {*known.get_values_for_type(x509.DNSName), *map(str, known.get_values_for_type(x509.IPAddress))}
    return has >= set(names)


def _make(names: list[str]) -> tuple[bytes, bytes]:
    """Key and certificate in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # A name of its own: a client that trusts several looks them up by it.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"corral self-signed {serial:x}"[:40])])
    now = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, cert.public_bytes(serialization.Encoding.PEM)


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
