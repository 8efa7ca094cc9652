"""Pages of support."""

from backoffice.support.pages import lens

__all__ = ["lens"]
