"""What the message of a Celery task carries besides: the id of the request that led to it, and when it was sent."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from celery.signals import before_task_publish, task_postrun, task_prerun

from backoffice import logs

SENT_AT = "sent_at"  # in seconds since 1970

_blocks: dict[str, contextlib.ExitStack] = {}


@before_task_publish.connect
def send_along(headers: dict[str, Any], **kwargs: Any) -> None:
    headers[SENT_AT] = time.time()
    if request_id := logs.request_id():
        headers[logs.TASK_HEADER] = request_id


@task_prerun.connect
def begin(task_id: str, task: Any, **kwargs: Any) -> None:
    block = _blocks[task_id] = contextlib.ExitStack()
    block.enter_context(logs.of_request(task.request.get(logs.TASK_HEADER) or ""))


@task_postrun.connect
def end(task_id: str, **kwargs: Any) -> None:
    if block := _blocks.pop(task_id, None):
        block.close()
