"""Celery finds the dealing desk's long work by this module."""

from backoffice.dealing import kill_switch as kill_switch  # registers its kind of job
