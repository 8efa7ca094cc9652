"""Housekeeping of accounts."""

from celery import shared_task
from django.utils import timezone

from accounts import tokens
from accounts.oauth_models import AuthorizationCode, UsedAssertion


@shared_task
def forget_ended_tokens() -> None:
    """Delete what no longer opens anything: tokens after a while, codes and assertions as soon as they have ended."""
    now = timezone.now()
    AuthorizationCode.objects.filter(expires_at__lt=now).delete()
    UsedAssertion.objects.filter(expires_at__lt=now).delete()
    tokens.forget_ended()
