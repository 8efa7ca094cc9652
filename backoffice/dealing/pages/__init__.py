"""Pages of the dealing desk; each module registers its own."""

from backoffice.dealing.pages import busts, desk, stop

__all__ = ["busts", "desk", "stop"]
