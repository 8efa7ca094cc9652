"""Database triggers for rows that are written once and for ever."""

import pgtrigger


def append_only(what: str) -> list[pgtrigger.Trigger]:
    """Refuse UPDATE, DELETE and TRUNCATE of a table, to everybody."""
    return [
        pgtrigger.Protect(name=f"{what}_append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        no_truncate(what),
    ]


def no_truncate(what: str) -> pgtrigger.Trigger:
    """Refuse TRUNCATE of a table, which row triggers do not see.

    It is allowed while the setting `backoffice.allow_truncate` is on, which only test databases do.
    """
    return pgtrigger.Trigger(
        name=f"{what}_no_truncate",
        level=pgtrigger.Statement,
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        func=(
            "IF coalesce(current_setting('backoffice.allow_truncate', true), '') = 'on' THEN RETURN NULL; END IF;"
            " RAISE EXCEPTION 'pgtrigger: Cannot truncate rows from % table', TG_TABLE_NAME;"
        ),
    )
