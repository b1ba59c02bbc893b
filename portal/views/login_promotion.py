"""Authentication › Login & promotion."""

from http import HTTPStatus
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse

from anonusers.models import Project
from portal.access import projects_of
from portal.forms import SettingsForm
from portal.login_promotion import LoginPromotionForm, sends_texts
from portal.views.pages import SettingsView


class LoginPromotionView(SettingsView):
    """What people log in with, what is verified, and what happens when two want the same."""

    template_name = "portal/login_promotion.html"
    section = "login-promotion"
    form_class = LoginPromotionForm

    def rows(self) -> QuerySet[Project]:
        return projects_of(self.request.user).filter(pk=self.project.pk)

    def form_page(
        self, row: Any, form: SettingsForm, status: HTTPStatus = HTTPStatus.OK, **context: Any
    ) -> HttpResponse:
        return super().form_page(row, form, status, sends_texts=sends_texts(), **context)
