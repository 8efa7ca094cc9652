from django.db import migrations

from backoffice.partitions import PartitionByMonth


class Migration(migrations.Migration):

    dependencies = [
        ("trading", "0002_order_lists"),
    ]

    operations = [
        PartitionByMonth("orderevent", "at"),
    ]
