"""Celery's part of the operations desk: long work, and the end of the day."""

from celery import shared_task

from backoffice.operations import bulk as bulk  # registers its kinds of jobs
from backoffice.operations import day_end, jobs

LONGEST_SECONDS = 3600


@shared_task(acks_late=False, time_limit=LONGEST_SECONDS)
def run_job(job_id: int) -> None:
    """Do one job. Acknowledged before, since it may outlast the time after which tasks are given out again."""
    jobs.run(job_id)


@shared_task(acks_late=False, time_limit=LONGEST_SECONDS)
def run_day_end() -> str:
    """Report yesterday. Harmless when repeated."""
    return str(day_end.run(day_end.yesterday()))
