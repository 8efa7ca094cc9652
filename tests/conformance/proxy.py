"""A proxy that spoils one thing: `http://…/NAME/tv/orders` is the server's `/tv/orders` with the fault of that name."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

State = dict[str, Any]
HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "server", "date"})


@dataclass
class Passing:
    """A request on its way, and then its answer; a fault changes either. `status` 0: not asked yet."""

    method: str
    path: str  # with its query
    headers: dict[str, str]
    body: bytes
    status: int = 0
    answer_headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""

    @property
    def address(self) -> str:
        return self.path.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.path.partition("?")[2], keep_blank_values=True))

    @property
    def said(self) -> Any:
        return json.loads(self.answer, parse_float=Decimal)

    @said.setter
    def said(self, value: Any) -> None:
        self.answer = json.dumps(value, default=float).encode()

    def is_get(self, end: str) -> bool:
        return self.method == "GET" and self.status == 200 and self.address.endswith(end)


@dataclass(frozen=True)
class Fault:
    """`before` changes requests; one that sets a status answers them itself. `line` makes lines of a stream's line, or
    None: the end. `check` is the test that must see it; one that trades on the demo has an `account` to itself."""

    name: str
    check: str
    before: Callable[[Passing, State], None] | None = None
    after: Callable[[Passing, State], None] | None = None
    line: Callable[[bytes, State], list[bytes] | None] | None = None
    account: str = ""
    is_chunked: bool = True
    stream_seconds: float = 2.5


class Proxy:
    """Serves all faults of one server at once, each under its name; `sound` under the name “sound”."""

    def __init__(self, upstream: str, faults: Mapping[str, Fault]) -> None:
        address = urlsplit(upstream)
        handler = type(
            "Through",
            (_Through,),
            {"upstream": (address.hostname, address.port), "faults": faults, "states": {}, "lock": threading.RLock()},
        )
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, fault: str = "sound") -> str:
        return f"{self._url}/{fault}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Through(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    upstream: tuple[str, int]
    faults: Mapping[str, Fault]
    states: dict[str, State]
    lock: threading.RLock

    def log_message(self, *_args: object) -> None:
        pass

    def _pass(self) -> None:
        _nothing, name, rest = self.path.split("/", 2)
        fault = self.faults.get(name, Fault(name, ""))
        with self.lock:
            state = self.states.setdefault(name, {})
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {key: value for key, value in self.headers.items() if key.lower() not in {"host", "connection"}}
        passing = Passing(self.command, f"/{rest}", headers, body)
        if "/stream" in passing.address and fault.line:
            self._stream(passing, fault, state)
        elif "/streaming" in passing.address or "/stream/" in passing.address:
            self._stream(passing, Fault(name, "", is_chunked=fault.is_chunked, before=fault.before), state)
        else:
            self._whole(passing, fault, state)

    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = _pass  # noqa: N815 (http.server's names)

    def _ask(self, passing: Passing) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(*self.upstream, timeout=30)
        headers = {**passing.headers, "Accept-Encoding": "identity", "Connection": "close"}
        headers.pop("Content-Length", None)
        connection.request(passing.method, passing.path, passing.body or None, headers)
        return connection.getresponse()

    def _whole(self, passing: Passing, fault: Fault, state: State) -> None:
        if fault.before:
            with self.lock:
                fault.before(passing, state)
        if not passing.status:
            answer = self._ask(passing)
            passing.status, passing.answer = answer.status, answer.read()
            passing.answer_headers = {
                key.lower(): value for key, value in answer.getheaders() if key.lower() not in HOP_BY_HOP
            }
        if fault.after:
            with self.lock:
                fault.after(passing, state)
        self.send_response(passing.status)
        for key, value in passing.answer_headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(passing.answer)))
        self.end_headers()
        self.wfile.write(passing.answer)

    def _stream(self, passing: Passing, fault: Fault, state: State) -> None:
        """Line by line, each as a chunk of its own."""
        if fault.before:
            fault.before(passing, state)
        answer = self._ask(passing)
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header(*(("Transfer-Encoding", "chunked") if fault.is_chunked else ("Connection", "close")))
        self.end_headers()
        with self.lock:
            mine = state.setdefault(str(threading.get_ident()), {"connection": len(state)})
        try:
            for line in answer:
                lines = fault.line(line, mine) if fault.line else [line]
                if lines is None:
                    break
                for each in lines:
                    self._write(each, is_chunked=fault.is_chunked)
            if fault.is_chunked:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass
        finally:
            answer.close()
            self.close_connection = True

    def _write(self, line: bytes, *, is_chunked: bool) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line) if is_chunked else line)
