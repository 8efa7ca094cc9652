"""Pages of the mapping workbench; each module registers its own."""

from backoffice.workbench.pages import releases, tables

__all__ = ["releases", "tables"]
