"""A balancer as docs/running.md asks for one: it asks `/readyz` often, keeps connections, and sends a request anew only
when the connection was refused, so that nothing was sent of it."""

from __future__ import annotations

import contextlib
import http.client
import re
import select
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from backoffice.processes import LOOPBACK

CHECK_SECONDS = 0.1
STREAMS = re.compile(r"/tv/streaming|/tv/accounts/[^/]+/stream/")
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


class Balancer(ThreadingHTTPServer):
    """Sends streams to the ports of `stream`, all else to those of `web`, in turn. `failed` is what it could not do."""

    daemon_threads = True

    def __init__(self, web: Sequence[int], stream: Sequence[int]) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.ready: set[int] = set()
        self.served: Counter[int] = Counter()
        self.failed: list[str] = []
        self._ports = {"web": list(web), "stream": list(stream)}
        self._idle: dict[int, list[http.client.HTTPConnection]] = defaultdict(list)
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        stopping = threading.Event()
        threads = [threading.Thread(target=self.serve_forever), threading.Thread(target=self._check, args=(stopping,))]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopping.set()
            self.shutdown()
            for thread in threads:
                thread.join()
            self.server_close()

    def connections(self, path: str) -> Iterator[http.client.HTTPConnection]:
        """A connection to each process that is ready for this path; the next is asked for when one is refused."""
        part = self._ports["stream" if STREAMS.match(path) else "web"]
        with self._lock:
            part.append(part.pop(0))
            ready = [port for port in part if port in self.ready]
        for port in ready:
            yield self._take(port)

    def _take(self, port: int) -> http.client.HTTPConnection:
        with self._lock:
            self.served[port] += 1
            while self._idle[port]:
                idle = self._idle[port].pop()
                if idle.sock and not select.select([idle.sock], [], [], 0)[0]:  # readable: closed by the other side
                    return idle
                idle.close()
        return http.client.HTTPConnection(LOOPBACK, port, timeout=60)

    def give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle[connection.port].append(connection)

    def _check(self, stopping: threading.Event) -> None:
        while not stopping.wait(CHECK_SECONDS):
            self.ready = {port for ports in self._ports.values() for port in list(ports) if _is_ready(port)}


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    server: Balancer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        for connection in self.server.connections(self.path):
            try:
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
            except ConnectionRefusedError:
                continue
            except (OSError, http.client.HTTPException) as error:
                self._fail(502, repr(error))
                return
            self._answer(connection, response)
            return
        self._fail(503, "nobody is ready")

    def _answer(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if response.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            if response.chunked:
                while piece := response.read1(1 << 16):
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")
            else:
                self.wfile.write(response.read())
        except (OSError, http.client.HTTPException) as error:
            if not isinstance(error, BrokenPipeError | ConnectionResetError):  # those: the client has gone
                self.server.failed.append(f"{self.path}: {error!r}")
            self.close_connection = True
            connection.close()
            return
        if response.will_close:
            connection.close()
        else:
            self.server.give_back(connection)

    def _fail(self, status: int, why: str) -> None:
        self.server.failed.append(f"{self.command} {self.path}: {why}")
        self.send_error(status)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class' name)
        """Say nothing."""
