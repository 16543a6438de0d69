"""A man in the middle: ends TLS with a certificate of his own, reads everything, and passes it on to the router."""

import select
import socket
import ssl
import threading
from pathlib import Path

SILENT_S = 30
"""Someone in the middle has no reason to be slow, or to wait for ever."""


class ManInTheMiddle:
    """Listens on loopback and passes on what he hears to a port of this machine."""

    def __init__(self, certificate: Path, key: Path, port: int, version: ssl.TLSVersion) -> None:
        self.heard = b""
        self._open: list[socket.socket] = []
        self._to = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._context.minimum_version = self._context.maximum_version = version
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in (self._listening, *self._open):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
        try:
            fooled = self._context.wrap_socket(client, server_side=True)
            fooled.settimeout(SILENT_S)
            router = careless.wrap_socket(socket.create_connection(("127.0.0.1", self._to), 10))
            router.settimeout(SILENT_S)
            self._open += [fooled, router]
        except OSError:
            client.close()
            return
        try:
            self._pass_on(fooled, router)
        except (OSError, ValueError):
            pass  # One of them has gone, or `close` was called.
        for end in (fooled, router):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _pass_on(self, fooled: ssl.SSLSocket, router: ssl.SSLSocket) -> None:
        """Pass on in both directions until one of them ends.

        In one thread: OpenSSL does not allow that one thread reads from a connection while another one writes to it.
        """
        other = {fooled: router, router: fooled}
        while True:
            waiting = [end for end in other if end.pending()] or select.select(list(other), [], [], SILENT_S)[0]
            if not waiting:
                return
            for source in waiting:
                source.setblocking(False)
                try:
                    data = source.recv(65536)
                except ssl.SSLWantReadError:
                    continue  # Something of TLS itself.
                finally:
                    source.settimeout(SILENT_S)
                if not data:
                    return
                if source is fooled:
                    self.heard += data
                other[source].sendall(data)
