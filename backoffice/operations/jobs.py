"""Long work: asked for in a page, done by a worker, watched and stopped from its page.

A job's progress is written to Redis, because the work's own transaction hides what it writes until it commits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.core.cache import cache
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from backoffice.audit import context
from backoffice.operations.choices import JobState
from backoffice.operations.models import Attachment, Job

log = logging.getLogger(__name__)

SECONDS_BETWEEN_SIGNS = 0.5
SILENT_AFTER_SECONDS = 60


class Cancelled(BaseException):
    """Somebody pressed the button: the work stops, and its transaction leaves nothing.

    Not an Exception, so that no library on the way takes it for the fault of a row.
    """


class Failed(Exception):
    """The work cannot be done; the text says why, for the user."""


@dataclass
class Progress:
    """What the work tells while it goes on. Raises Cancelled from `step` once somebody asked for it."""

    job_id: int
    total: int = 0
    done: int = 0
    _last: float = field(default=0.0, repr=False)

    def begin(self, total: int) -> None:
        self.total = total
        self._tell()

    def step(self, count: int = 1) -> None:
        self.done = min(self.done + count, self.total)
        if time.monotonic() - self._last >= SECONDS_BETWEEN_SIGNS:
            self._tell()

    def _tell(self) -> None:
        self._last = time.monotonic()
        cache.set(_key(self.job_id), (self.done, self.total), SILENT_AFTER_SECONDS)
        if Job.objects.filter(pk=self.job_id, cancel_asked=True).exists():
            raise Cancelled


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the work: a sentence, and a file where there is one."""

    message: str
    name: str = ""
    content_type: str = ""
    content: bytes = b""


Work = Callable[[Job, Progress], Outcome]
KINDS: dict[str, Work] = {}


def kind(name: str) -> Callable[[Work], Work]:
    """Register the work behind a kind of job."""

    def register(work: Work) -> Work:
        KINDS[name] = work
        return work

    return register


def start(name: str, title: str, *, by: User, upload: Attachment | None = None, **arguments: object) -> Job:
    """Store the job and let a worker have it after the commit."""
    from backoffice.operations import tasks

    job = Job.objects.create(kind=name, title=title, by=by, upload=upload, arguments=arguments)
    transaction.on_commit(lambda: tasks.run_job.delay(job.pk))
    return job


def run(job_id: int) -> None:
    """Do the job, once: one that was begun already is left alone."""
    begun = Job.objects.filter(pk=job_id, state=JobState.QUEUED).update(
        state=JobState.RUNNING, started_at=timezone.now()
    )
    if not begun:
        return
    job = Job.objects.select_related("by", "upload").get(pk=job_id)
    progress = Progress(job.pk)
    try:
        with context.acting(user=job.by, source=f"job {job.pk} {job.kind}"):
            outcome = KINDS[job.kind](job, progress)
    except Cancelled:
        _end(job, progress, JobState.CANCELLED, _("It was cancelled; nothing of it was kept."))
    except Failed as failure:
        _end(job, progress, JobState.FAILED, str(failure))
    except Exception:
        log.exception("job %s failed", job_id)
        _end(job, progress, JobState.FAILED, _("It failed; nothing of it was kept. The log has the details."))
    else:
        if outcome.content:
            job.result = Attachment.keep(outcome.name, outcome.content_type, outcome.content, by=job.by)
        progress.done = progress.total
        _end(job, progress, JobState.FINISHED, outcome.message)


def cancel(job_id: int) -> None:
    """Ask the job to stop; one that no worker has taken yet ends at once."""
    now = timezone.now()
    waiting = Job.objects.filter(pk=job_id, state=JobState.QUEUED)
    if not waiting.update(state=JobState.CANCELLED, finished_at=now, message=_("It was cancelled before it began.")):
        Job.objects.filter(pk=job_id, state=JobState.RUNNING).update(cancel_asked=True)


def progress_of(job: Job) -> tuple[int, int]:
    """(done, total) at the moment."""
    if job.state == JobState.RUNNING and (told := cache.get(_key(job.pk))):
        return int(told[0]), int(told[1])
    return job.done, job.total


def is_silent(job: Job) -> bool:
    """Whether a running job gives no sign of life: its worker was killed, and the job may be asked for again."""
    if job.state != JobState.RUNNING or job.started_at is None:
        return False
    is_old = (timezone.now() - job.started_at).total_seconds() > SILENT_AFTER_SECONDS
    return is_old and cache.get(_key(job.pk)) is None


def _end(job: Job, progress: Progress, state: JobState, message: str) -> None:
    job.done, job.total = progress.done, progress.total
    job.state, job.message, job.finished_at = state, message[:500], timezone.now()
    job.save(update_fields=["done", "total", "state", "message", "finished_at", "result"])


def _key(job_id: int) -> str:
    return f"job:{job_id}"
