"""A project in which every page of the portal has something to show."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone

from anonusers.audit import record
from anonusers.models import Application, CleanupRun, EndUser, Project
from anonusers.promotion import promote
from portal.models import Deployment, Draft, Job, Membership
from portal.operator_keys import create_key, revoke_key
from portal.urls import in_project
from tests.anonusers.test_device_keys import guest_with_key
from tests.conftest import make_application, make_project
from tests.devices import Device
from tests.people import guest_session, proof_of

PASSWORD = "correct horse"
DAY = timedelta(days=1)
# Not pages: a download; an answer to a form only.
NO_PAGES = {"users-export", "audit-export", "users-bulk"}


def operator(name: str = "olga", **flags: Any) -> Any:
    flags = {"is_staff": True, "is_superuser": True, "email": f"{name}@example.com"} | flags
    return get_user_model().objects.create_user(name, password=PASSWORD, **flags)


class World:
    """`project` with people of every kind; `olga` signs in as its administrator."""

    def __init__(self, slug: str = "shop") -> None:
        realm = {
            "realm_app_id": f"{slug}-abcde",
            "realm_local_userpass": True,
            "realm_migration_until": "2999-01-01T00:00Z",
        }
        self.project: Project = make_project(slug, "*", login_ids=["email", "username"], **realm)
        self.web: Application = make_application(self.project, "web", name="Web shop")
        self.app: Application = make_application(
            self.project, "app", name="Phone app", type="native", redirect_uris=["com.example.shop://host/path"]
        )
        for type_ in ("traditional_webapp", "confidential", "m2m"):
            make_application(self.project, type_, name=f"Example {type_}", type=type_)
        make_application(self.project, f"{slug}-abcde", name="Realm", framework="realm-web")
        self.olga = operator()
        revoke_key(user=self.olga, pk=create_key(user=self.olga, name="Old laptop").row.pk)
        create_key(user=self.olga, name="The machine that deploys")
        Membership.objects.create(project=self.project, user=operator("vera", is_superuser=False), role="viewer")
        self.guest: EndUser = guest_session(
            self.web, user_agent="Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"
        ).end_user
        self.regular = promote(
            end_user=guest_session(self.web).end_user, project=self.project, proof=proof_of(), application=self.web
        ).end_user
        guest_session(self.app)
        self.keyed = guest_with_key(self.app, Device())
        self.disabled = guest_session(self.web).end_user
        self.aside = guest_session(self.web).end_user
        now = timezone.now()
        EndUser.objects.filter(pk=self.disabled.pk).update(disabled_at=now)
        EndUser.objects.filter(pk=self.aside.pk).update(quarantined_at=now - DAY)
        for days in range(20):
            for _ in range(1 + days % 4):
                person = guest_session(self.web if days % 3 else self.app).end_user
                EndUser.objects.filter(pk=person.pk).update(created_at=now - days * DAY)
        record("users", "user.disabled", project=self.project, actor=self.olga, end_user_id=self.disabled.pk,
               changes={"reason": "Spam in the comments"})  # fmt: skip
        record("settings", "project.changed", project=self.project, actor=self.olga, target="project",
               changes={"session_lifetime": [86_400, 172_800], "anonymous_users_enabled": [False, True]})  # fmt: skip
        CleanupRun.objects.create(
            project=self.project, state="finished", started_at=now - DAY, seen_at=now - DAY, finished_at=now - DAY,
            report={"counts": {"removed": 12, "quarantined": 3}, "samples": [], "forecast": []},
        )  # fmt: skip
        self.job = Job.objects.create(
            project=self.project, action="disable", selection={"subs": [str(self.guest.pk)]}, state="finished",
            actor="olga", total=1, done=1, finished_at=now,
        )  # fmt: skip

    def collect_changes(self) -> None:
        """Turn review on, with a change that waits and one that was deployed."""
        from anonusers.project_file import export_project

        before = export_project(self.project.slug)
        Project.objects.filter(pk=self.project.pk).update(session_lifetime=172_800)
        after = export_project(self.project.slug)
        Deployment.objects.create(
            project=self.project, number=1, author="olga", note="Longer sessions", before=before, after=after
        )
        changes = {"project": {"session_idle_timeout": {"old": self.project.session_idle_timeout, "new": 86_400}}}
        Draft.objects.create(project=self.project, changes=changes, author="olga")

    def pages(self) -> Iterator[tuple[str, str]]:
        """Name and path of every page of the project."""
        ids: dict[str, list[dict[str, Any]]] = {
            "user": [{"sub": one.pk} for one in (self.guest, self.regular, self.disabled, self.aside, self.keyed)],
            "job": [{"pk": self.job.pk}],
            "application": [{"pk": pk} for pk in self.project.applications.order_by("pk").values_list("pk", flat=True)],
            "quick-start": [{"pk": self.web.pk}, {"pk": self.app.pk}],
            "application-delete": [{"pk": self.web.pk}],
            "deployment": [{"number": 1}],
        }
        for route in in_project:
            name = str(route.name)
            if name not in NO_PAGES | {"project"}:
                for number, one in enumerate(ids.get(name, [{}])):
                    path = reverse(f"portal:{name}", kwargs={"project_slug": self.project.slug} | one)
                    yield (f"{name}-{number + 1}" if number else name), path
        yield "project-new", reverse("portal:project-new")
        yield "api-keys", reverse("portal:api-keys")
