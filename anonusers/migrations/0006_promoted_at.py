"""Lists and charts look for regular users by `promoted_at`: fill it for those who were promoted before it was there."""

from typing import Any

from django.db import migrations
from django.db.models import OuterRef, Subquery


def fill(apps: Any, schema_editor: Any) -> None:
    promotions = apps.get_model("anonusers", "Promotion").objects.filter(outcome="promoted")
    moment = promotions.filter(end_user=OuterRef("pk")).values("created_at")[:1]
    people = apps.get_model("anonusers", "EndUser").objects
    people.filter(promoted_at=None, pk__in=promotions.values("end_user")).update(promoted_at=Subquery(moment))


class Migration(migrations.Migration):
    dependencies = [("anonusers", "0005_portal")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
