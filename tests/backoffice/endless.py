"""An application with an endless response at /endless, as the price stream is one; the rest is Django's."""

import asyncio
import os

from backoffice.asgi import Application
from tvapi.endless import Receive, Scope, Send


async def endless(scope: Scope, receive: Receive, send: Send) -> bool:
    if scope["path"] != "/endless":
        return False
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"first\n", "more_body": True})
    stopping: asyncio.Event = scope["stopping"]
    await stopping.wait()
    await send({"type": "http.response.body", "body": b"last\n", "more_body": False})
    return True


application = Application(
    [endless], part="stream", threads=2, data_threads=1, notice_seconds=float(os.environ.get("NOTICE", "0"))
)
