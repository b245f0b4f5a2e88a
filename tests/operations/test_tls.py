"""TLS, sockets in the file system, several listeners, passed sockets, and how clients speak over them."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corral.errors import CorralError
from corral.hostaddress import HostAddress
from corral.listening import listen_unix, passed_sockets
from corral.operations.certificates import CertificateError, CertificateFiles, Certificates, make_context
from corral.operations.selfsigned import fingerprint, self_signed
from tests.conftest import PLAIN_TEMPLATE, Server
from tests.waiting import wait_until

CLI = [sys.executable, "-m", "corral.cli.main"]


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return self_signed(tmp_path / "tls", ["127.0.0.1"])


def secure_address(server: Server, scheme: str = "https") -> str:
    """Where the server says that it listens with this scheme."""
    pattern = re.compile(rf"listening address=({scheme}://\S+)")
    wait_until(lambda: pattern.search("".join(server.log)))
    match = pattern.search("".join(server.log))
    assert match
    return match[1]


def secure_server(start: Callable[..., Server], files: CertificateFiles, **env: str) -> Server:
    """A server with TLS, and a plain listener for the tests' own client."""
    return start(
        OLLAMA_HOST="http://127.0.0.1:0",
        CORRAL_HOSTS=f"https://127.0.0.1:0,unix://{files.cert.parent}/s.sock",
        CORRAL_TLS_CERT=str(files.cert),
        CORRAL_TLS_KEY=str(files.key),
        **env,
    )


def handshake(address: str, authorities: Path, **context: Path) -> dict[str, object]:
    """The certificate that a server shows; it has to be trusted."""
    trusting = ssl.create_default_context(cafile=str(authorities))
    if context:
        trusting.load_cert_chain(context["cert"], context["key"])
    host, port = HostAddress.parse(address).host, HostAddress.parse(address).port
    plain = socket.create_connection((host, port), timeout=60)
    with plain, trusting.wrap_socket(plain, server_hostname=host) as wrapped:
        wrapped.sendall(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert wrapped.recv(100).startswith(b"HTTP/1.1 ")
        return dict(wrapped.getpeercert() or {})


@pytest.mark.process
def test_every_client_over_tls_and_a_unix_socket(
    start_server: Callable[..., Server], files: CertificateFiles
) -> None:
    """curl, openssl, and the command line; a body larger than a TLS record; plain HTTP gets no answer."""
    server = secure_server(start_server, files)
    server.create("say", "say", template=PLAIN_TEMPLATE)
    https, unix = secure_address(server), secure_address(server, "unix")
    env = {**server.env, "CORRAL_CA_FILE": str(files.cert)}
    for address in (https, unix):
        env["OLLAMA_HOST"] = address
        shown = subprocess.run(
            [*CLI, "list"], env=env, capture_output=True, text=True, check=True, timeout=60
        )
        assert "say:latest" in shown.stdout
        said = subprocess.run([*CLI, "run", "say", "x"], env=env, capture_output=True, text=True, timeout=60)
        assert said.returncode == 0 and said.stdout.strip(), said.stderr
        version = subprocess.run([*CLI, "--version"], env=env, capture_output=True, text=True, timeout=60)
        assert version.stdout.startswith("corral version is ")
    del env["CORRAL_CA_FILE"]
    env["OLLAMA_HOST"] = https
    refused = subprocess.run([*CLI, "list"], env=env, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "is not trusted: self" in refused.stderr
    assert "CORRAL_CA_FILE" in refused.stderr
    large = json.dumps({"model": "say", "system": "x" * 300_000}).encode()
    port = HostAddress.parse(https).port
    connection = http.client.HTTPSConnection(
        "127.0.0.1", port, context=ssl.create_default_context(cafile=str(files.cert)), timeout=60
    )
    for _ in range(2):  # the connection is kept
        connection.request("POST", "/api/show", large)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not plain.recv(10).startswith(b"HTTP/1.1 200")


@pytest.mark.process
def test_a_unix_socket_has_rights_and_no_host_check(
    start_server: Callable[..., Server], files: CertificateFiles
) -> None:
    server = secure_server(
        start_server, files, CORRAL_SOCKET_MODE="0600", CORRAL_SOCKET_GROUP=str(os.getgid())
    )
    path = Path(HostAddress.parse(secure_address(server, "unix")).path)
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /api/version HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    assert server.request("GET", "/api/version", headers={"Host": "evil.example"})[0] == 403
    server.process.terminate()
    assert server.process.wait(60) == 0
    assert not path.exists()


@pytest.mark.process
def test_a_new_certificate_counts_at_once_and_no_handshake_fails(
    start_server: Callable[..., Server], files: CertificateFiles, tmp_path: Path
) -> None:
    """Under load; a broken file changes nothing."""
    server = secure_server(start_server, files)
    https = secure_address(server)
    new = self_signed(tmp_path / "new", ["127.0.0.1"])
    both = tmp_path / "both.pem"
    both.write_bytes(files.cert.read_bytes() + new.cert.read_bytes())
    old_serial, new_serial = (_serial(each.cert) for each in (files, new))
    stop, failures, seen = threading.Event(), [], []

    def load() -> None:
        while not stop.is_set():
            try:
                seen.append(handshake(https, both)["serialNumber"])
            except (OSError, AssertionError) as exc:
                failures.append(exc)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(seen) > 20)
        files.key.write_bytes(b"broken")
        server.process.send_signal(1)
        wait_until(lambda: any("the certificate stays as it was" in line for line in server.log))
        assert seen[-1] == old_serial
        os.replace(new.key, files.key)
        os.replace(new.cert, files.cert)
        wait_until(lambda: new_serial in seen[-4:])
        count = len(seen)
        wait_until(lambda: len(seen) > count + 40)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert not failures
    assert set(seen[-8:]) == {new_serial}
    assert any("new certificate" in line for line in server.log)


def _serial(cert: Path) -> str:
    return str(ssl._ssl._test_decode_cert(str(cert))["serialNumber"])  # type: ignore[attr-defined]


@pytest.mark.process
def test_clients_may_have_to_show_a_certificate(
    start_server: Callable[..., Server], files: CertificateFiles, tmp_path: Path
) -> None:
    client = self_signed(tmp_path / "client", [])
    server = secure_server(start_server, files, CORRAL_TLS_CLIENT_CA=str(client.cert))
    https = secure_address(server)
    with pytest.raises((ssl.SSLError, OSError, AssertionError)):
        handshake(https, files.cert)
    assert handshake(https, files.cert, cert=client.cert, key=client.key)
    env = {**server.env, "OLLAMA_HOST": https, "CORRAL_CA_FILE": str(files.cert)}
    env |= {"CORRAL_CLIENT_CERT": str(client.cert), "CORRAL_CLIENT_KEY": str(client.key)}
    shown = subprocess.run([*CLI, "ps"], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert shown.returncode == 0, shown.stderr


@contextmanager
def running(words: list[str], env: dict[str, str], **popen: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([*CLI, *words], env=env, stderr=subprocess.PIPE, text=True, **popen)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)
        process.stderr.close()


def environment(home: Path, **env: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "CORRAL_"))}
    return {**clean, "HOME": str(home), "OLLAMA_MODELS": str(home / "m"), **env}


@pytest.mark.process
def test_a_certificate_to_try_it_out(tmp_path: Path) -> None:
    """Made once; its fingerprint is in the log."""
    env = environment(tmp_path, OLLAMA_HOST="127.0.0.1:0")
    cert = tmp_path / ".corral" / "tls" / "self-signed.crt"
    prints = set()
    for _ in range(2):
        with running(["serve", "--tls-self-signed"], env) as process:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            address = ""
            for line in lines:
                if match := re.search(r"fingerprint=(\S+)", line):
                    prints.add(match[1])
                if match := re.search(r"listening address=(https://\S+)", line):
                    address = match[1]
                    break
            assert handshake(address, cert)
    assert prints == {fingerprint(cert)}


@pytest.mark.process
def test_passed_sockets(tmp_path: Path) -> None:
    """As systemd passes them: in place of the server's own addresses, and not to its children."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        script = f'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3<&{listener.fileno()}'
        env = environment(tmp_path, OLLAMA_HOST="127.0.0.1:9")
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", *CLI, "serve"],
            env=env,
            pass_fds=[listener.fileno()],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/api/version")  # waits in the socket until the server runs
            assert connection.getresponse().status == 200
            connection.close()
        finally:
            process.terminate()
            assert process.wait(60) == 0
        # The socket is still open here, and no connection was refused: the next server takes over.
        with socket.create_connection(("127.0.0.1", port), timeout=60):
            pass


def test_descriptors_that_are_not_passed_sockets(tmp_path: Path) -> None:
    assert passed_sockets({}) == []
    assert passed_sockets({"LISTEN_FDS": "1", "LISTEN_PID": "1"}) == []
    assert passed_sockets({"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())}) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("unix:///run/corral.sock", ""),
        ("unix://relative.sock", "absolute path"),
        ("unix://", "absolute path"),
        ("unix:///run/", "absolute path"),
        ("unix:///" + "x" * 120, "at most 103 bytes"),
        ("unix:/run/x.sock", "absolute path"),
    ],
)
def test_addresses_of_sockets(text: str, problem: str) -> None:
    from corral.hostaddress import host_problem

    assert (problem in host_problem(text)) if problem else not host_problem(text)
    if not problem:
        address = HostAddress.parse(text)
        assert (address.url(), address.path, address.is_loopback) == (text, "/run/corral.sock", True)


def test_socket_files(tmp_path: Path) -> None:
    """A dead one is replaced, a live one and other files are not."""
    path = tmp_path / "s"
    with listen_unix(path, 0o660, ""), pytest.raises(CorralError, match="already in use"):
        listen_unix(path, 0o660, "")
    listen_unix(path, 0o640, "").close()
    assert path.stat().st_mode & 0o777 == 0o640
    other = tmp_path / "file"
    other.write_text("precious")
    with pytest.raises(CorralError, match="not a socket"):
        listen_unix(other, 0o660, "")
    assert other.read_text() == "precious"
    with pytest.raises(CorralError, match="no-such-group does not exist"):
        listen_unix(tmp_path / "t", 0o660, "no-such-group")
    with pytest.raises(CorralError, match="no such file"):
        listen_unix(tmp_path / "gone" / "t", 0o660, "")


def test_certificates_that_cannot_be_used(files: CertificateFiles, tmp_path: Path) -> None:
    """Each says what is wrong, and none replaces one that works."""
    other = self_signed(tmp_path / "other", [])
    for broken, reason in (
        (CertificateFiles(tmp_path / "gone", files.key), "no such file"),
        (CertificateFiles(files.cert, other.key), "the key is not that of the certificate"),
        (CertificateFiles(files.key, files.key), "not valid PEM"),
        (CertificateFiles(files.cert, files.key, files.key), "not valid PEM"),
    ):
        with pytest.raises(CertificateError, match=reason):
            make_context(broken)
    certificates = Certificates(files)
    first = certificates.context
    certificates.refresh()
    assert certificates.context is first
    files.cert.write_text("half a certif")
    certificates.refresh()
    assert certificates.context is first
    os.replace(other.cert, files.cert)
    certificates.refresh()
    assert certificates.context is first  # the key is still the old one
    os.replace(other.key, files.key)
    certificates.refresh()
    assert certificates.context is not first


def test_a_self_signed_certificate_is_kept(tmp_path: Path) -> None:
    """As long as it has all hosts; the key is for its owner alone."""
    files = self_signed(tmp_path, ["10.0.0.1", "0.0.0.0", ""])
    before = files.cert.read_bytes()
    assert files.key.stat().st_mode & 0o777 == 0o600
    assert self_signed(tmp_path, ["10.0.0.1"]).cert.read_bytes() == before
    self_signed(tmp_path, ["corral.example"])
    assert files.cert.read_bytes() != before
