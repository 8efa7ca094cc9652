"""Market data in the admin."""

from marketdata.admin import instruments, prices

__all__ = ["instruments", "prices"]
