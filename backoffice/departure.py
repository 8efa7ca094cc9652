"""How an ASGI process leaves so that no client notices: it says so first, and goes on answering meanwhile.

Whoever sends it requests asks `/readyz` every second or so. Told to stop, the process answers there that it is leaving,
closes each connection with its next answer, and only after the notice, when nobody sends it anything any more, ends its
endless responses and lets the server stop.
"""

from __future__ import annotations

import asyncio
import signal
import socket

from tvapi.endless import Send

PATH = "/readyz"
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Departure:
    """`is_announced` from the signal on; `due` is set `notice_seconds` later, or at once by a second signal."""

    def __init__(self, notice_seconds: float) -> None:
        self.is_announced = False
        self.due = asyncio.Event()
        self._notice_seconds = notice_seconds

    def await_signals(self) -> None:
        """Hear the signals before the server does. Call it in the event loop of the main thread.

        An event loop hears of signals by Python's wake-up descriptor. Ours takes its place, until it is time.
        """
        self._loop = asyncio.get_running_loop()
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)
        self._of_server = signal.set_wakeup_fd(self._mouth.fileno())
        self._loop.add_reader(self._ear, self._heard)

    def _heard(self) -> None:
        for signum in self._ear.recv(64):
            if signum not in SIGNALS:
                continue
            if self.is_announced:
                self._leave(signum)
            else:
                self.is_announced = True
                self._loop.call_later(self._notice_seconds, self._leave, signum)

    def _leave(self, signum: int) -> None:
        """End the endless responses, for which the server would wait, and give it the signal that was meant for it."""
        if not self.due.is_set():
            self.due.set()
            self._loop.remove_reader(self._ear)
            signal.set_wakeup_fd(self._of_server)
            signal.raise_signal(signum)

    async def answer(self, send: Send) -> None:
        """To `/readyz`: 200 while requests are welcome, then 503. How the other parts are is told by /healthz."""
        status, body = (503, b"leaving\n") if self.is_announced else (200, b"ready\n")
        headers = [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")]
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": body, "more_body": False})
