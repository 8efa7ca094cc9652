"""Pages of the dealing desk; each module registers its own."""

from backoffice.dealing.pages import busts

__all__ = ["busts"]
