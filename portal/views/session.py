"""Advanced › Session."""

from django.db.models import QuerySet

from anonusers.models import Project
from portal.access import projects_of
from portal.forms import SessionForm
from portal.views.pages import SettingsView


class SessionView(SettingsView):
    """The cookie sessions of a project."""

    template_name = "portal/session.html"
    section = "session"
    form_class = SessionForm

    def rows(self) -> QuerySet[Project]:
        return projects_of(self.request.user).filter(pk=self.project.pk)
