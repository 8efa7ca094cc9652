"""What the contract's server does beside answering."""

from __future__ import annotations

from celery import shared_task

from tvapi import symbol_lists


@shared_task
def prepare_symbol_lists() -> None:
    """Have the answers of `/symbol_info` ready before TradingView asks for them. Running twice is harmless."""
    symbol_lists.prepare()
