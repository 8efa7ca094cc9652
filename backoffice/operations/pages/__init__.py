"""Pages of the operations desk; each module registers its own."""

from backoffice.operations.pages import accounts, cash, conditions, jobs, reports

__all__ = ["accounts", "cash", "conditions", "jobs", "reports"]
