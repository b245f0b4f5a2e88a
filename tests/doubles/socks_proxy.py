"""A SOCKS5 proxy in this process: it connects to one address whatever it is asked for, and keeps what that was."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading

__all__ = ["SocksProxy"]


class SocksProxy:
    """`login`: user and password that it wants. `refusal`: the code that it answers every request with."""

    def __init__(
        self, target: tuple[str, int], *, login: tuple[str, str] | None = None, refusal: int = 0
    ) -> None:
        self.target = target
        self.login = login
        self.refusal = refusal
        self.asked: list[tuple[str, int]] = []
        handler = type("_Handler", (_Handler,), {"double": self})
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Handler(socketserver.StreamRequestHandler):
    double: SocksProxy

    def handle(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._serve()

    def _read(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def _serve(self) -> None:
        version, count = self._read(2)
        methods = self._read(count)
        wanted = 2 if self.double.login else 0
        if version != 5 or wanted not in methods:
            self.connection.sendall(b"\x05\xff")
            return
        self.connection.sendall(bytes([5, wanted]))
        if self.double.login:
            self._read(1)
            user = self._read(self._read(1)[0]).decode()
            password = self._read(self._read(1)[0]).decode()
            is_right = (user, password) == self.double.login
            self.connection.sendall(b"\x01\x00" if is_right else b"\x01\x01")
            if not is_right:
                return
        _, _, _, kind = self._read(4)
        if kind == 3:
            host = self._read(self._read(1)[0]).decode()
        else:
            family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, self._read(size))
        self.double.asked.append((host, int.from_bytes(self._read(2), "big")))
        self.connection.sendall(bytes([5, self.double.refusal, 0, 3, 4]) + b"here" + b"\x00\x50")
        if self.double.refusal:
            return
        with socket.create_connection(self.double.target) as other:
            back = threading.Thread(target=_pump, args=(other, self.connection), daemon=True)
            back.start()
            _pump(self.connection, other)
            back.join(60)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
