from typing import Any

from django.db import migrations


def forget(apps: Any, schema_editor: Any) -> None:
    """Jobs that have ended need not say who they were about; what people search for are names of people."""
    Job = apps.get_model("portal", "Job")
    ended = Job.objects.using(schema_editor.connection.alias).filter(state__in=("finished", "cancelled"))
    ended.update(selection={}, cursor="")


class Migration(migrations.Migration):
    dependencies = [("portal", "0003_realm_admin")]

    operations = [migrations.RunPython(forget, migrations.RunPython.noop, elidable=True)]
