"""The clients of a benchmark: raw HTTP/1.1 on sockets, in a process of their own. Knows no Django.

`python -m backoffice.bench.load` reads a `Plan` from its standard input and writes a `Result` to its standard output.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any

import msgspec

from backoffice.quantiles import of_sorted

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Plan(msgspec.Struct):
    """What each connection sends, in turn and over again, for so long. `pace` is in requests a second for each
    connection; 0 sends the next one as soon as an answer has come."""

    port: int
    seconds: float
    connections: list[list[bytes]]
    pace: float = 0.0


class Result(msgspec.Struct):
    """`late` are requests that the clients themselves could not send in time, by more than 50 ms."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int
    late: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class Client(asyncio.Protocol):
    """One connection: one request on its way at a time, as a browser's poll."""

    def __init__(self, requests: list[bytes], pace: float, first_at: float, end_at: float) -> None:
        self._requests, self._pace, self._end_at = requests, pace, end_at
        self._due = first_at
        self._sent = 0
        self._sent_at = 0.0
        self._received = bytearray()
        self._loop = asyncio.get_running_loop()
        self.latencies: list[float] = []
        self.failed = self.late = 0
        self.done = self._loop.create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._loop.call_at(self._due, self._send)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._received, 0, head)
        if length is None or len(self._received) < head + 4 + int(length[1]):
            return
        now = self._loop.time()
        self.latencies.append(now - (self._due if self._pace else self._sent_at))
        self.failed += (
            not self._received.startswith(b"HTTP/1.1 200") or b'"s":"error"' in self._received[head : head + 16]
        )
        self._received.clear()
        if self._pace:
            self._due += 1 / self._pace
            self._loop.call_at(self._due, self._send)
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.failed += 1
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent_at = self._loop.time()
        if self._sent_at >= self._end_at:
            if not self.done.done():
                self.done.set_result(None)
            self._transport.close()
            return
        self.late += bool(self._pace) and self._sent_at - self._due > 0.05 and not self.latencies
        self._transport.write(self._requests[self._sent % len(self._requests)])
        self._sent += 1


async def run(plan: Plan) -> Result:
    loop = asyncio.get_running_loop()
    start = loop.time() + 0.5
    clients: list[Client] = []
    for number, requests in enumerate(plan.connections):
        first_at = start + (number / len(plan.connections) / plan.pace if plan.pace else 0)

        def client(requests: list[bytes] = requests, first_at: float = first_at) -> Client:
            return Client(requests, plan.pace, first_at, start + plan.seconds)

        _transport, made = await loop.create_connection(client, "127.0.0.1", plan.port)
        clients.append(made)
    await asyncio.gather(*(client.done for client in clients))
    latencies = sorted(latency for client in clients for latency in client.latencies) or [0.0]
    return Result(
        requests=len(latencies),
        seconds=max(loop.time() - start, plan.seconds),
        p50_ms=of_sorted(latencies, 0.5) * 1000,
        p99_ms=of_sorted(latencies, 0.99) * 1000,
        failed=sum(client.failed for client in clients),
        late=sum(client.late for client in clients),
    )


def request(target: str, token: str = "", *, form: str | None = None) -> bytes:
    """A request as TradingView's page sends it."""
    lines = [
        f"{'GET' if form is None else 'POST'} {target} HTTP/1.1",
        "Host: 127.0.0.1",
        "Origin: https://www.tradingview.com",
        "Accept: */*",
        "User-Agent: bench",
    ]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if form is not None:
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + (form or "")).encode()


if __name__ == "__main__":
    sys.stdout.buffer.write(
        msgspec.json.encode(asyncio.run(run(msgspec.json.decode(sys.stdin.buffer.read(), type=Plan))))
    )
