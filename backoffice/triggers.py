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


def versioned(what: str) -> pgtrigger.Trigger:
    """Keep versions as they were written: of a row only the approval changes, and back only before it is in force.

    For tables with `state` (draft, approved), `effective_from`, `approved_by_id` and `approved_at`. A draft may be
    deleted; whatever else a column says, also one that joins later, is written once.
    """
    return pgtrigger.Trigger(
        name=f"{what}_versioned",
        when=pgtrigger.Before,
        operation=pgtrigger.Update | pgtrigger.Delete,
        func="""
            IF TG_OP = 'DELETE' THEN
                IF OLD.state = 'approved' THEN
                    RAISE EXCEPTION 'an approved version is not deleted' USING ERRCODE = 'restrict_violation';
                END IF;
                RETURN OLD;
            END IF;
            IF OLD.state = 'approved' AND OLD.effective_from <= now() THEN
                RAISE EXCEPTION 'a version in force is not changed' USING ERRCODE = 'restrict_violation';
            END IF;
            IF to_jsonb(OLD) - '{state,approved_by_id,approved_at}'::text[]
               IS DISTINCT FROM to_jsonb(NEW) - '{state,approved_by_id,approved_at}'::text[] THEN
                RAISE EXCEPTION 'a version is not rewritten: draft another' USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        """,
    )
