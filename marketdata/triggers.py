"""Database triggers of market data.

Closed bars stay as they are (BAR-10, DQ-3), symbol groups keep their rules (GRP-3 … GRP-5), and every change of a
group's symbols raises its version.
"""

import pgtrigger

from backoffice.triggers import no_truncate

# Compares the old row with the new one: its first bars, where bars were only appended (the usual case, and cheap), else
# bar by bar. Prices are integers of 10**-price_scale, so a finer scale multiplies the old ones.
_ONLY_GROWS = """
IF TG_OP = 'UPDATE' THEN
    IF (NEW.instrument_id, NEW.resolution, NEW.start) IS DISTINCT FROM (OLD.instrument_id, OLD.resolution, OLD.start)
       OR NEW.price_scale < OLD.price_scale THEN
        RAISE EXCEPTION 'bars do not move to another instrument, period or coarser scale'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    kept := cardinality(OLD.t);
    factor := power(10::numeric, NEW.price_scale - OLD.price_scale)::bigint;
    scale := power(10::numeric, -NEW.price_scale);
    IF factor <> 1 OR NEW.t[1:kept] <> OLD.t OR NEW.o[1:kept] <> OLD.o OR NEW.h[1:kept] <> OLD.h
       OR NEW.l[1:kept] <> OLD.l OR NEW.c[1:kept] <> OLD.c OR NEW.v[1:kept] <> OLD.v THEN
        kept := 0;
        IF EXISTS (
            SELECT FROM (
                SELECT b.t, b.o * factor, b.h * factor, b.l * factor, b.c * factor, b.v
                  FROM unnest(OLD.t, OLD.o, OLD.h, OLD.l, OLD.c, OLD.v) AS b(t, o, h, l, c, v)
                EXCEPT
                SELECT b.t, b.o, b.h, b.l, b.c, b.v
                  FROM unnest(NEW.t, NEW.o, NEW.h, NEW.l, NEW.c, NEW.v) AS b(t, o, h, l, c, v)
            ) AS lost
             WHERE NOT EXISTS (
                SELECT FROM marketdata_barcorrection AS k
                  JOIN unnest(NEW.t, NEW.o, NEW.h, NEW.l, NEW.c, NEW.v) AS b(t, o, h, l, c, v) ON b.t = lost.t
                 WHERE k.instrument_id = NEW.instrument_id AND k.resolution = NEW.resolution AND k.at = now()
                   AND k.time = (NEW.start::timestamp AT TIME ZONE 'UTC') + lost.t * (
                           CASE NEW.resolution WHEN '1' THEN interval '1 minute' ELSE interval '24 hours' END)
                   AND (k.o, k.h, k.l, k.c) = (
                           b.o * scale, b.h * scale, b.l * scale, b.c * scale)
                   AND k.v = b.v * 0.00000001
             )
        ) THEN
            RAISE EXCEPTION 'a closed bar never changes' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END IF;
END IF;
IF NEW.t[1] < 0 OR NEW.t[cardinality(NEW.t)] >= (CASE NEW.resolution WHEN '1' THEN 1440 ELSE 366 END) OR EXISTS (
    SELECT FROM (
        SELECT b.t <= lag(b.t) OVER (ORDER BY b.place) AS falls
          FROM unnest(NEW.t[greatest(kept, 1):]) WITH ORDINALITY AS b(t, place)
    ) AS steps WHERE falls
) THEN
    RAISE EXCEPTION 'the times of bars rise and stay within their period'
        USING ERRCODE = 'integrity_constraint_violation';
END IF;
RETURN NEW;
"""

_STAYS = """
IF coalesce(current_setting('backoffice.allow_retention', true), '') = 'on' THEN RETURN OLD; END IF;
RAISE EXCEPTION 'bars are kept: only retention removes them' USING ERRCODE = 'integrity_constraint_violation';
"""


def bars_only_grow() -> list[pgtrigger.Trigger]:
    """An UPDATE may only add bars, their times rise, and nothing is deleted. A bar that changes has its correction,
    stored in the same transaction.

    DELETE needs the setting `backoffice.allow_retention` to be on, TRUNCATE `backoffice.allow_truncate`, which only
    test databases set.
    """
    return [
        pgtrigger.Trigger(
            name="bars_only_grow",
            when=pgtrigger.Before,
            operation=pgtrigger.Insert | pgtrigger.Update,
            declare=[("kept", "int := 0"), ("factor", "bigint"), ("scale", "numeric")],
            func=_ONLY_GROWS,
        ),
        pgtrigger.Trigger(
            name="bars_stay",
            when=pgtrigger.Before,
            operation=pgtrigger.Delete,
            func=_STAYS,
        ),
        no_truncate("bars"),
    ]


MOST_GROUPS = 10  # GRP-3
MOST_SYMBOLS = 10_000  # of one group

_GROUP_RULES = """
PERFORM pg_advisory_xact_lock(hashtext('marketdata_symbolgroup'));
IF (SELECT count(*) FROM marketdata_symbolgroup) >= {most} THEN
    RAISE EXCEPTION 'there are {most} symbol groups already' USING ERRCODE = 'integrity_constraint_violation';
END IF;
IF EXISTS (SELECT FROM marketdata_symbolgroup WHERE split_part(name, '_', 1) <> split_part(NEW.name, '_', 1)) THEN
    RAISE EXCEPTION 'all symbol groups begin with the same prefix' USING ERRCODE = 'integrity_constraint_violation';
END IF;
RETURN NEW;
"""

# Whoever changes a group's symbols holds its row until his commit, so versions follow the order of commits. A version
# is above every earlier one, also of a database that was made anew: it is at least the time in microseconds.
_SYMBOLS_CHANGED = """
SELECT array_agg(DISTINCT symbol_group_id) INTO changed FROM ({rows}) AS touched WHERE symbol_group_id IS NOT NULL;
PERFORM FROM marketdata_symbolgroup WHERE id = ANY(changed) ORDER BY id FOR NO KEY UPDATE;
UPDATE marketdata_symbolgroup
   SET symbols_version = greatest(symbols_version + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
 WHERE id = ANY(changed);
IF EXISTS (
    SELECT FROM marketdata_instrument WHERE symbol_group_id = ANY(changed)
     GROUP BY symbol_group_id HAVING count(*) > {most}
) THEN
    RAISE EXCEPTION 'a symbol group has at most {most} symbols' USING ERRCODE = 'integrity_constraint_violation';
END IF;
RETURN NULL;
"""


def group_rules() -> list[pgtrigger.Trigger]:
    """At most ten symbol groups with one prefix (GRP-3, GRP-5), none of which is renamed or deleted (GRP-4)."""
    return [
        pgtrigger.Protect(name="never_deleted", operation=pgtrigger.Delete),
        pgtrigger.ReadOnly(name="name_never_changes", fields=["name"]),
        pgtrigger.Trigger(
            name="ten_groups_one_prefix",
            when=pgtrigger.Before,
            operation=pgtrigger.Insert,
            func=_GROUP_RULES.format(most=MOST_GROUPS),
        ),
        no_truncate("symbol_groups"),
    ]


def symbols_of_groups() -> list[pgtrigger.Trigger]:
    """For instruments: no group outgrows its limit (GRP-3), and a group's `symbols_version` rises with every change."""
    return [
        _symbols_changed("added", pgtrigger.Insert, new="new_rows"),
        _symbols_changed("removed", pgtrigger.Delete, old="old_rows"),
        _symbols_changed("changed", pgtrigger.Update, old="old_rows", new="new_rows"),
    ]


def _symbols_changed(what: str, operation: pgtrigger.Operation, **tables: str) -> pgtrigger.Trigger:
    """Once for each statement, however many instruments it touches; `tables` names those of their old and new rows."""
    rows = " UNION ".join(f"SELECT symbol_group_id FROM {table}" for table in tables.values())  # noqa: S608
    return pgtrigger.Trigger(
        name=f"symbols_{what}",
        level=pgtrigger.Statement,
        when=pgtrigger.After,
        operation=operation,
        referencing=pgtrigger.Referencing(**tables),  # type: ignore[no-untyped-call]
        declare=[("changed", "bigint[]")],
        func=_SYMBOLS_CHANGED.format(rows=rows, most=MOST_SYMBOLS),
    )


_BY_RELEASES = """
IF TG_OP <> 'INSERT' THEN was := OLD.published_symbol; whose := OLD.instrument_id; END IF;
IF TG_OP <> 'DELETE' THEN becomes := NEW.published_symbol; whose := NEW.instrument_id; END IF;
IF TG_OP = 'UPDATE' AND NEW.instrument_id <> OLD.instrument_id THEN
    RAISE EXCEPTION 'a mapping stays with its instrument' USING ERRCODE = 'integrity_constraint_violation';
END IF;
IF was IS DISTINCT FROM becomes AND NOT EXISTS (
    SELECT FROM marketdata_mappingchange AS k JOIN marketdata_mappingrelease AS r ON r.id = k.release_id
     WHERE k.instrument_id = whose AND k.after = coalesce(becomes, '') AND r.published_at = now()
) THEN
    RAISE EXCEPTION 'published mappings change with a release only' USING ERRCODE = 'integrity_constraint_violation';
END IF;
RETURN coalesce(NEW, OLD);
"""


def published_by_releases() -> pgtrigger.Trigger:
    """For mappings: what is published changes in the transaction that stores a release saying so."""
    return pgtrigger.Trigger(
        name="published_by_releases",
        when=pgtrigger.Before,
        operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
        declare=[("was", "text"), ("becomes", "text"), ("whose", "bigint")],
        func=_BY_RELEASES,
    )
