"""Which registries are asked for a name: mirrors first, then the host in the name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from corral.errors import CorralError
from corral.names import DEFAULT_HOST, ModelName
from corral.urlsecrets import without_userinfo

# Two names of one registry: the shorter one redirects to the longer one (ollama issue 15661).
HUGGING_FACE = frozenset({"hf.co", "huggingface.co"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A repository on a registry. `base_url` is `scheme://host[:port]`, without a slash at its end.

    `is_plain_allowed`: the configuration or the request allows plain http for this registry;
    `is_plain_configured`: the configuration does.
    """

    base_url: str
    repository: str
    tag: str
    is_plain_allowed: bool = False
    is_plain_configured: bool = False
    is_mirror: bool = False

    @property
    def host(self) -> str:
        """Host and port as written in the URL."""
        return self.base_url.partition("://")[2]

    @property
    def scheme(self) -> str:
        return self.base_url.partition("://")[0]

    def manifest_url(self, reference: str = "") -> str:
        """The URL of a tag or digest; the name's own tag if none is given."""
        return f"{self.base_url}/v2/{self.repository}/manifests/{reference or self.tag}"

    def blob_url(self, digest: object) -> str:
        return f"{self.base_url}/v2/{self.repository}/blobs/{digest}"


def default_port(scheme: str) -> int:
    return 80 if scheme == "http" else 443


def split_host(text: str, scheme: str) -> tuple[str, int]:
    """Host (lower case, without brackets) and port of `host[:port]`.

    Raises:
        CorralError: the port is not a number, or there is no host.
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise CorralError(f"no valid host: {text!r}")
    return host, port or default_port(scheme)


@dataclass(frozen=True, slots=True)
class SourceRules:
    """From the configuration.

    `default_registry` is the base URL that serves names without a host. Mirrors are `URL` (for such names) or
    `HOST=URL` (for names on that host).
    """

    default_registry: str = f"https://{DEFAULT_HOST}"
    mirrors: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, default_registry: str, mirrors: Iterable[str]) -> SourceRules:
        """Raises CorralError: one is not the URL of a registry."""
        parsed = []
        for entry in mirrors:
            host, mark, url = entry.partition("=")
            if not mark or "://" in host:
                host, url = DEFAULT_HOST, entry
            parsed.append((host.lower(), _base_url(url, "CORRAL_REGISTRY_MIRRORS")))
        base = (
            _base_url(default_registry, "CORRAL_DEFAULT_REGISTRY")
            if default_registry
            else f"https://{DEFAULT_HOST}"
        )
        return cls(base, tuple(parsed))

    def endpoints(self, name: ModelName, *, is_insecure: bool) -> tuple[Endpoint, ...]:
        """In the order to try. `is_insecure` asks the host of the name without TLS (Ollama's meaning of it)."""
        repository, tag = name.repository(), name.tag
        host = name.host.lower()
        found = [
            Endpoint(
                url, repository, tag, url.startswith("http://"), url.startswith("http://"), is_mirror=True
            )
            for mirrored, url in self.mirrors
            if mirrored == host
        ]
        base = self.default_registry if host == DEFAULT_HOST else f"https://{name.host}"
        is_configured = base.startswith("http://")
        if is_insecure:
            base = f"http://{base.partition('://')[2]}"
        found.append(Endpoint(base, repository, tag, is_insecure or is_configured, is_configured))
        return tuple(found)

    def origin(self, name: ModelName, *, is_insecure: bool) -> Endpoint:
        """Where to push to: never a mirror."""
        return self.endpoints(name, is_insecure=is_insecure)[-1]


def _base_url(text: str, setting: str) -> str:
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        is_sound = is_sound and not any(char.isspace() or ord(char) < 32 for char in url)
    except ValueError:
        is_sound = False
    if not is_sound or parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise CorralError(
            f"{setting}: {without_userinfo(text)!r} is not a registry",
            hint="write it as https://host or http://host:port",
        )
    return f"{parts.scheme}://{parts.netloc}"
