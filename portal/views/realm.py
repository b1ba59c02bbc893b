"""Advanced › Realm."""

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _

from anonusers.models import Project
from anonusers.realm_users import PROVIDERS, provider_id, realm_app_of
from portal import snippets
from portal.access import projects_of
from portal.endpoints import endpoint_of
from portal.forms import SettingsForm
from portal.models import Draft
from portal.quick_start import Snippet, fill
from portal.realm import RealmForm, application_of, make_application, read_moment
from portal.views.pages import SettingsView

EXAMPLE = "https://auth.example.com"


class RealmView(SettingsView):
    """What clients of MongoDB Stitch and Realm find, and the ids that their tools ask for."""

    template_name = "portal/realm.html"
    section = "realm"
    form_class = RealmForm

    def rows(self) -> QuerySet[Project]:
        return projects_of(self.request.user).filter(pk=self.project.pk)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.POST.get("action") == "application":
            return self.make_application()
        return super().post(request, *args, **kwargs)

    def store(self, form: SettingsForm, row: Any) -> None:
        self.complete(form)
        super().store(form, row)

    def keep(self, form: SettingsForm, row: Any, draft: Draft) -> None:
        self.complete(form)
        super().keep(form, row, draft)

    def complete(self, form: SettingsForm) -> None:
        """An app ID is the client ID of an application, which must work at once: it does not wait in a draft."""
        if app_id := form.cleaned_data["realm_app_id"]:
            make_application(self.project, actor=self.request.user, app_id=app_id)

    def make_application(self) -> HttpResponse:
        """The same, where it was deleted meanwhile."""
        project = self.rows().get()
        if not project.realm_app_id:
            messages.info(self.request, _("Nothing was changed: deploy an app ID first."))
            return redirect(self.request.path)
        try:
            make_application(project, actor=self.request.user)
        except ValidationError as error:
            return self.form_page(project, self.form_of(project), HTTPStatus.CONFLICT, refused=error.messages)
        messages.success(self.request, _("The application is there. Stitch and Realm clients come through it."))
        return redirect(self.request.path)

    def form_page(
        self, row: Any, form: SettingsForm, status: HTTPStatus = HTTPStatus.OK, **context: Any
    ) -> HttpResponse:
        endpoint = endpoint_of(self.project, self.request)
        until = read_moment(self.project.realm_migration_until)
        return super().form_page(
            row,
            form,
            status,
            ids=self.ids(),
            endpoint=endpoint,
            application=application_of(self.project),
            code=self.code(endpoint or EXAMPLE),
            is_migrating=until is not None and until > timezone.now(),
            until=until,
            **context,
        )

    def ids(self) -> list[tuple[str, str]]:
        """What the tools call things, by name; none while no client finds the project."""
        if not self.project.realm_app_id:
            return []
        app = realm_app_of(self.project)
        own = [(_("App _id"), app.object_id), (_("Group (project) ID"), app.group_id), (_("Domain ID"), app.domain_id)]
        return own + [(_("Provider %(name)s") % {"name": name}, provider_id(app, name)) for name in PROVIDERS]

    def code(self, endpoint: str) -> list[Snippet]:
        """How an app and the tools are pointed here."""
        app_id = self.project.realm_app_id
        if not app_id:
            return []
        filled = {"app_id": app_id, "endpoint": endpoint}
        return [
            Snippet("realm-web", "js", fill(snippets.REALM_BASE_URL, **filled)),
            Snippet("mongodb-stitch-browser-sdk", "js", fill(snippets.STITCH_BASE_URL, **filled)),
            Snippet("realm-cli", "sh", fill(snippets.REALM_CLI, **filled)),
            Snippet("stitch-cli", "sh", fill(snippets.STITCH_CLI, **filled)),
        ]
