"""Until now every operator had every project: who had no part in the choice keeps what they had."""

from typing import Any

from django.conf import settings
from django.db import migrations


def add_members(apps: Any, schema_editor: Any) -> None:
    user_model = apps.get_model(*settings.AUTH_USER_MODEL.split("."))
    fields = {field.name for field in user_model._meta.get_fields()}
    if not {"is_staff", "is_active"} <= fields:
        return
    operators = user_model._base_manager.filter(is_staff=True, is_active=True)
    if "is_superuser" in fields:
        operators = operators.filter(is_superuser=False)
    people = set(apps.get_model("anonusers", "EndUser").objects.filter(user__in=operators).values_list("user", flat=True))
    membership = apps.get_model("portal", "Membership")
    owners = (
        membership(project=project, user=user, role="owner")
        for project in apps.get_model("anonusers", "Project").objects.all()
        for user in operators
        if user.pk not in people
    )
    membership.objects.bulk_create(owners, ignore_conflicts=True)  # who went back and comes again has them already


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [migrations.RunPython(add_members, migrations.RunPython.noop)]
