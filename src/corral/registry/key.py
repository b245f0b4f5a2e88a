"""The ed25519 key that identifies this machine: Ollama's file, Ollama's format (ollama: auth/auth.go)."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from corral.disk import make_folders, write_atomically, write_new
from corral.errors import RegistryAuthError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MAX_KEY_BYTES = 64 << 10


def default_key_path() -> Path:
    return Path.home() / ".ollama" / "id_ed25519"


class Identity:
    """Signs for this machine."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Read an OpenSSH private key.

        Raises:
            RegistryAuthError: there is none, or it is not an unencrypted ed25519 key.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_ssh_private_key

        try:
            with path.open("rb") as file:
                key = load_ssh_private_key(file.read(_MAX_KEY_BYTES), password=None)
        except OSError as exc:
            raise RegistryAuthError(f"open {path}: {(exc.strerror or str(exc)).lower()}") from exc
        except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
            raise RegistryAuthError(f"{path} is not an OpenSSH key without a passphrase: {exc}") from exc
        if not isinstance(key, Ed25519PrivateKey):
            raise RegistryAuthError(f"{path} is not an ed25519 key")
        return cls(key)

    def public_part(self) -> str:
        """The base64 of the public key's SSH form: the second word of its line in a `.pub` file."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        line = self._key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        return line.split()[1].decode("ascii")

    def sign(self, text: str) -> str:
        """`<public part>:<signature>`, both base64."""
        signature = self._key.sign(text.encode())
        return f"{self.public_part()}:{base64.b64encode(signature).decode('ascii')}"


def ensure_key(path: Path) -> str | None:
    """Make the key pair if there is none; return the line of the new public key, None if there was one already.

    Raises:
        OSError
    """
    if path.exists():
        return None
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    make_folders(path.parent, mode=0o755)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = f"ssh-ed25519 {Identity(key).public_part()}"
    public_path = path.with_name(f"{path.name}.pub")
    write_atomically(public_path, f"{public}\n".encode(), mode=0o644)
    try:
        write_new(path, private, mode=0o600)
    except FileExistsError:  # another process was faster
        public = f"ssh-ed25519 {Identity.load(path).public_part()}"
        write_atomically(public_path, f"{public}\n".encode(), mode=0o644)
        return None
    return public
