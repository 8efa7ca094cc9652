"""Runs of the conformance tests, kept for those who answer for the integration."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from tvapi.conformance.runner import Document


class ConformanceRunQuerySet(models.QuerySet["ConformanceRun"]):
    def keep(self, document: Document) -> ConformanceRun:
        """Store a run with all its results. Evidence in it has no secrets (`client.Exchange`)."""
        from tvapi.conformance.framework import Status  # the runner loads much that no other process needs

        told = document.as_json()
        counts = document.counts
        return self.create(
            base_url=document.base,
            started_at=document.started_at,
            seconds=document.seconds,
            has_passed=document.is_green,
            passed=counts[Status.PASSED],
            warnings=counts[Status.WARNING],
            failed=counts[Status.FAILED],
            skipped=counts[Status.SKIPPED],
            results=told["results"],
            notes=told["notes"],
        )


class ConformanceRun(models.Model):
    """One run against one server. `results` are the results as the JSON report has them, in the order of the run."""

    base_url = models.CharField(_("server"), max_length=500)
    started_at = models.DateTimeField(_("started"))
    seconds = models.FloatField(_("duration, seconds"))
    has_passed = models.BooleanField(_("passed"))
    passed = models.PositiveIntegerField(_("right"))
    warnings = models.PositiveIntegerField(_("warnings"))
    failed = models.PositiveIntegerField(_("failed"))
    skipped = models.PositiveIntegerField(_("skipped"))
    results = models.JSONField(_("results"))
    notes = models.JSONField(_("notes"), default=list)

    objects: ClassVar = ConformanceRunQuerySet.as_manager()

    class Meta:
        verbose_name = _("conformance run")
        verbose_name_plural = _("conformance runs")
        ordering = ("-started_at", "-pk")

    def __str__(self) -> str:
        return f"{self.base_url} {self.started_at:%Y-%m-%d %H:%M}"

    def document(self) -> Document:
        """The run as it was, for a report."""
        from tvapi.conformance.framework import Result
        from tvapi.conformance.runner import Document

        return Document(
            self.base_url, self.started_at, self.seconds, [Result.of_json(row) for row in self.results], self.notes
        )
