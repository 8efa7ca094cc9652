"""Database triggers that keep closed bars as they are, whoever writes (BAR-10, DQ-3)."""

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
    IF factor <> 1 OR NEW.t[1:kept] <> OLD.t OR NEW.o[1:kept] <> OLD.o OR NEW.h[1:kept] <> OLD.h
       OR NEW.l[1:kept] <> OLD.l OR NEW.c[1:kept] <> OLD.c OR NEW.v[1:kept] <> OLD.v THEN
        kept := 0;
        IF EXISTS (
            SELECT b.t, b.o * factor, b.h * factor, b.l * factor, b.c * factor, b.v
              FROM unnest(OLD.t, OLD.o, OLD.h, OLD.l, OLD.c, OLD.v) AS b(t, o, h, l, c, v)
            EXCEPT
            SELECT b.t, b.o, b.h, b.l, b.c, b.v
              FROM unnest(NEW.t, NEW.o, NEW.h, NEW.l, NEW.c, NEW.v) AS b(t, o, h, l, c, v)
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
    """An UPDATE may only add bars, their times rise, and nothing is deleted.

    DELETE needs the setting `backoffice.allow_retention` to be on, TRUNCATE `backoffice.allow_truncate`, which only
    test databases set.
    """
    return [
        pgtrigger.Trigger(
            name="bars_only_grow",
            when=pgtrigger.Before,
            operation=pgtrigger.Insert | pgtrigger.Update,
            declare=[("kept", "int := 0"), ("factor", "bigint")],
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
