"""Where the portal opens."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.access import projects_of
from portal.views.pages import LAST_PROJECT, PortalView, ProjectView


class HomeView(PortalView):
    """Leads to the project of the last visit, else to the first one."""

    template_name = "portal/no_projects.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        projects = projects_of(request.user)
        last = projects.filter(slug=request.session.get(LAST_PROJECT, "")).first()
        if project := last or projects.first():
            return redirect("portal:project", project.slug)
        return self.page()


class ProjectHomeView(ProjectView):
    """Leads to a project's first screen."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return redirect("portal:overview", self.project.slug)
