"""Pages of the dealing desk; each module registers its own."""

from backoffice.dealing.pages import busts, chart, desk, stop

__all__ = ["busts", "chart", "desk", "stop"]
