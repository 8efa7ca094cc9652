from django.db import migrations

from backoffice.partitions import PartitionByMonth


class Migration(migrations.Migration):

    dependencies = [
        ("trading", "0001_initial"),
    ]

    operations = [
        PartitionByMonth("orderevent", "at"),
    ]
