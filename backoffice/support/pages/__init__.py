"""Pages of support."""

from backoffice.support.pages import instruments, lens

__all__ = ["instruments", "lens"]
