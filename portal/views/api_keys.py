"""The operator's own API keys, for the Admin API."""

import re
from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.models import OperatorKey, OperatorToken
from portal.operator_keys import create_key, revoke_key
from portal.views.pages import PortalView

SHOWN_ONCE = "portal_new_key"
SHOWN = 100


class NewKeyForm(forms.Form):
    """What a key is for."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=100,
        widget=forms.TextInput({"class": "input", "autocomplete": "off", "enterkeyhint": "done"}),
        help_text=gettext_lazy("What it is for, such as the machine that deploys."),
        error_messages={"required": gettext_lazy("Enter a name.")},
    )


class ApiKeysView(PortalView):
    """The list, a new one, and the end of one. A private key is on the page after it was made, and nowhere else."""

    template_name = "portal/api_keys.html"

    @property
    def operator(self) -> Any:
        return self.request.user

    def get(self, request: HttpRequest) -> HttpResponse:
        if "revoke" in request.GET:
            return self.confirmation()
        return self.keys_page(NewKeyForm(label_suffix=""))

    def post(self, request: HttpRequest) -> HttpResponse:
        action = request.POST.get("action", "")
        if action == "create":
            return self.create()
        if action == "revoke":
            return self.revoke()
        return self.keys_page(NewKeyForm(label_suffix=""), HTTPStatus.BAD_REQUEST)

    def create(self) -> HttpResponse:
        form = NewKeyForm(self.request.POST, label_suffix="")
        if form.is_valid():
            try:
                made = create_key(user=self.request.user, name=form.cleaned_data["name"])
            except ValidationError as error:
                form.add_error(None, error)
            else:
                shown = {"name": made.row.name, "public_key": made.row.public_key, "private_key": made.private_key}
                self.request.session[SHOWN_ONCE] = shown
                return redirect(self.request.path)
        return self.keys_page(form, HTTPStatus.BAD_REQUEST)

    def confirmation(self) -> HttpResponse:
        """What ends, before it does."""
        self.template_name = "portal/api_key_revoke.html"  # type: ignore[misc]
        row = OperatorKey.objects.filter(user=self.operator, pk=key_in(self.request.GET.get("revoke"))).first()
        if row is None or row.revoked_at is not None:
            raise Http404
        open_ones = OperatorToken.objects.filter(key=row, expires_at__gt=timezone.now())
        return self.page(key=row, signed_in=open_ones.count())

    def revoke(self) -> HttpResponse:
        row = revoke_key(user=self.operator, pk=key_in(self.request.POST.get("key")))
        if row is None:
            raise Http404
        said = _("%(name)s is revoked. What was signed in with it is signed out.")
        messages.success(self.request, said % {"name": row.name})
        return redirect(self.request.path)

    def keys_page(self, form: NewKeyForm, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
        keys = OperatorKey.objects.filter(user=self.operator).order_by("-created_at", "-pk")[:SHOWN]
        new_key = self.request.session.pop(SHOWN_ONCE, None) if self.request.method == "GET" else None
        return self.page(status, form=form, keys=keys, new_key=new_key)


def key_in(text: str | None) -> int:
    """The key of a row. Raises: Http404"""
    if not text or not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        raise Http404
    return int(text)
