from django.db import migrations

COLUMNS = "tohlcv"


def _storage(how):
    changes = ", ".join(f"ALTER COLUMN {name} SET STORAGE {how}" for name in COLUMNS)
    return f"ALTER TABLE marketdata_barchunk {changes}"


class Migration(migrations.Migration):
    """Postgres' own compression of a day's columns took 7 ms each time a minute was added, and saved half the room."""

    dependencies = [("marketdata", "0001_initial")]

    operations = [migrations.RunSQL(_storage("EXTERNAL"), _storage("EXTENDED"))]
