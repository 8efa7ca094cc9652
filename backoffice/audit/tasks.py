"""What a Celery task changes is recorded as the system's, under the task's name."""

from __future__ import annotations

from contextvars import Token
from typing import Any

from celery.signals import task_postrun, task_prerun

from backoffice.audit import context

_tokens: dict[str, Token[context.Context | None]] = {}


@task_prerun.connect
def begin(task_id: str, task: Any, **kwargs: Any) -> None:
    _tokens[task_id] = context._current.set(context.Context(source=f"task {task.name}"))


@task_postrun.connect
def end(task_id: str, **kwargs: Any) -> None:
    if token := _tokens.pop(task_id, None):
        context._current.reset(token)
