"""The SQL that writes the trail and chains it. It is part of the first migration; a change needs another one."""

from textwrap import dedent

# What the chain protects of an entry, as text: no part of it depends on the settings of a session.
CONTENT = (
    "jsonb_build_array(seq, extract(epoch FROM at)::text, action, table_name, row_id, user_id, username, source,"
    " db_user, reason, before, after)::text"
)

RECORD = dedent("""
    CREATE OR REPLACE FUNCTION audit_record() RETURNS trigger LANGUAGE plpgsql SET timezone = 'UTC' AS $$
    DECLARE
        old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
        new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
        key text := coalesce(new_row, old_row) ->> TG_ARGV[0];
        name text;
    BEGIN
        FOR i IN 1 .. TG_NARGS - 1 LOOP
            name := TG_ARGV[i];
            IF coalesce(old_row ->> name, '') <> '' THEN
                old_row := jsonb_set(old_row, ARRAY[name], to_jsonb(audit_fingerprint(old_row ->> name)));
            END IF;
            IF coalesce(new_row ->> name, '') <> '' THEN
                new_row := jsonb_set(new_row, ARRAY[name], to_jsonb(audit_fingerprint(new_row ->> name)));
            END IF;
        END LOOP;
        IF TG_OP = 'UPDATE' THEN
            SELECT jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, n.value) INTO old_row, new_row
              FROM jsonb_each(old_row) o JOIN jsonb_each(new_row) n USING (key)
             WHERE o.value IS DISTINCT FROM n.value;
            IF old_row IS NULL THEN
                RETURN NULL;
            END IF;
        END IF;
        INSERT INTO audit_entry
            (at, action, table_name, row_id, user_id, username, source, db_user, reason, before, after)
        VALUES (
            clock_timestamp(), lower(TG_OP), TG_TABLE_NAME, key,
            nullif(current_setting('backoffice.user_id', true), '')::bigint,
            coalesce(current_setting('backoffice.username', true), ''),
            coalesce(nullif(current_setting('backoffice.source', true), ''), 'database'),
            session_user,
            coalesce(current_setting('backoffice.reason', true), ''),
            old_row, new_row
        );
        RETURN NULL;
    END $$;
""")

FINGERPRINT = dedent("""
    CREATE OR REPLACE FUNCTION audit_fingerprint(value text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
        SELECT 'secret ' || left(encode(sha256(convert_to(value, 'UTF8')), 'hex'), 8)
    $$;
""")

RECORD_TRUNCATE = dedent("""
    CREATE OR REPLACE FUNCTION audit_record_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF coalesce(current_setting('backoffice.allow_truncate', true), '') <> 'on' THEN
            INSERT INTO audit_entry (at, action, table_name, row_id, username, source, db_user, reason)
            VALUES (clock_timestamp(), 'truncate', TG_TABLE_NAME, '*',
                    coalesce(current_setting('backoffice.username', true), ''),
                    coalesce(nullif(current_setting('backoffice.source', true), ''), 'database'), session_user, '');
        END IF;
        RETURN NULL;
    END $$;
""")

# At commit: number the transaction's entries and chain them. The row of the head is locked from here to the end of the
# commit, a moment in which nothing else is waited for; so there is one order of entries, and no deadlock.
SEAL = dedent("""
    CREATE OR REPLACE FUNCTION audit_seal() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        head record;
        entry record;
    BEGIN
        PERFORM 1 FROM audit_entry WHERE id = NEW.id AND hash IS NULL;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
        INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, '') ON CONFLICT (id) DO NOTHING;
        SELECT seq, hash INTO head FROM audit_head WHERE id = 1 FOR UPDATE;
        FOR entry IN SELECT id FROM audit_entry WHERE hash IS NULL ORDER BY id LOOP
            head.seq := head.seq + 1;
            UPDATE audit_entry SET seq = head.seq, hash = '' WHERE id = entry.id;
            UPDATE audit_entry SET hash = encode(sha256(convert_to(head.hash || %CONTENT%, 'UTF8')), 'hex')
             WHERE id = entry.id RETURNING hash INTO head.hash;
        END LOOP;
        UPDATE audit_head SET seq = head.seq, hash = head.hash WHERE id = 1;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER seal_at_commit AFTER INSERT ON audit_entry
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_seal();
""").replace("%CONTENT%", CONTENT)

# Triggers write entries and seal them; nobody else does, whatever he may do otherwise.
GUARD = dedent("""
    CREATE OR REPLACE FUNCTION audit_guard() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF pg_trigger_depth() > 1 AND TG_OP = 'INSERT' THEN
            RETURN NEW;
        END IF;
        IF pg_trigger_depth() > 1 AND TG_OP = 'UPDATE' AND coalesce(OLD.hash, '') = '' THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'The audit trail is written by the database alone: % is refused.', TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END $$;
    CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON audit_entry
        FOR EACH ROW EXECUTE FUNCTION audit_guard();
    CREATE OR REPLACE FUNCTION audit_guard_head() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF pg_trigger_depth() > 1 AND TG_OP <> 'DELETE' THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'The head of the audit trail is written by the database alone: % is refused.', TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END $$;
    CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON audit_head
        FOR EACH ROW EXECUTE FUNCTION audit_guard_head();
""")

FORWARD = FINGERPRINT + RECORD + RECORD_TRUNCATE + SEAL + GUARD
BACKWARD = dedent("""
    DROP TRIGGER guard ON audit_head;
    DROP TRIGGER guard ON audit_entry;
    DROP TRIGGER seal_at_commit ON audit_entry;
    DROP FUNCTION audit_guard(), audit_guard_head(), audit_seal();
    DROP FUNCTION audit_record() CASCADE;
    DROP FUNCTION audit_record_truncate() CASCADE;
    DROP FUNCTION audit_fingerprint(text);
""")
