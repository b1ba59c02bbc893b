"""Advanced › Keys."""

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from anonusers.keys import rotate_keys
from anonusers.models import Project, SigningKey
from portal.access import Role, allows
from portal.endpoints import endpoint_of, jwks_url
from portal.views.pages import ProjectView

SIGNS = {
    SigningKey.Algorithm.ES256: lambda: _("Access tokens; ID tokens of applications that ask for ES256"),
    SigningKey.Algorithm.RS256: lambda: _("ID tokens"),
    SigningKey.Algorithm.HS256: lambda: _("Opaque access tokens, for this server only: it is not in the JWKS"),
}


class KeysView(ProjectView):
    """The signing keys, without what must stay secret, and their rotation. `?rotate` asks before it does."""

    template_name = "portal/keys.html"
    section = "keys"
    writes_as = Role.OWNER

    def get(self, request: HttpRequest) -> HttpResponse:
        if "rotate" not in request.GET:
            return self.keys_page()
        if not allows(self.role, self.writes_as):
            return render(request, "portal/forbidden.html", self.frame(), status=HTTPStatus.FORBIDDEN)
        return self.confirm()

    def post(self, request: HttpRequest) -> HttpResponse:
        with transaction.atomic():
            # Who sends the form again, or follows somebody who has just rotated, does not rotate twice.
            locked = Project.objects.select_for_update().get(pk=self.project.pk)
            if request.POST.get("version") != str(locked.keys_version):
                return self.confirm(HTTPStatus.CONFLICT, stale=True)
            rotate_keys(locked, actor=request.user)
        messages.success(request, _("New keys sign from now on."))
        return redirect(request.path)

    def keys_page(self) -> HttpResponse:
        rows = self.project.signing_keys.defer("private_key").order_by("-created_at", "algorithm")
        endpoint = endpoint_of(self.project, self.request)
        return self.page(
            keys=[(row, SIGNS[SigningKey.Algorithm(row.algorithm)]()) for row in rows],
            jwks_url=endpoint and jwks_url(endpoint),
        )

    def confirm(self, status: HTTPStatus = HTTPStatus.OK, **context: Any) -> HttpResponse:
        self.project.refresh_from_db(fields=["keys_version"])
        return render(
            self.request,
            "portal/keys_rotate.html",
            {**self.frame(), "version": self.project.keys_version, **context},
            status=status,
        )
