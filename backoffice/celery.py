"""The Celery application. Tasks live in the apps' `tasks.py`; the schedule in the settings."""

import os

from celery import Celery

from backoffice import task_ids as task_ids  # connects to Celery's signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backoffice.settings")

app = Celery("backoffice")
app.config_from_object("django.conf:settings", namespace="CELERY")
if os.environ.get("PART") != "beat":  # which sends tasks by the names in the schedule and runs none
    app.autodiscover_tasks()
