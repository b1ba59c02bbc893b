"""Applications › one of them › Quick start."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from anonusers.models.projects import origin_of
from portal.endpoints import endpoint_of
from portal.frameworks import made_with
from portal.quick_start import guides_for
from portal.views.pages import ProjectView

ENDPOINT_LATER = "https://auth.example.com"
"""Stands in the code while no host leads to the project; the page says so."""


class QuickStartView(ProjectView):
    """Code to start with, filled in with the values of this project."""

    template_name = "portal/quick_start.html"
    section = "applications"

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        row = get_object_or_404(self.project.applications.select_related("project"), pk=pk)
        endpoint = endpoint_of(self.project, request)
        origins = sorted({*self.project.allowed_origins, *filter(None, map(origin_of, row.redirect_uris))})
        return self.page(
            row=row,
            endpoint=endpoint,
            framework=made_with(row),
            guides=guides_for(row, endpoint=endpoint or ENDPOINT_LATER),
            origins=origins,
        )
