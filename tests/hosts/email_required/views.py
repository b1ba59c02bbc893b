from datetime import date
from typing import Any

from django import forms
from django.contrib.auth import login
from django.contrib.auth.forms import SetPasswordMixin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from anonusers.registration import promote_guest, registering_user
from tests.hosts.email_required.models import Customer


class RegisterForm(SetPasswordMixin, forms.ModelForm):  # type: ignore[type-arg]
    password1, password2 = SetPasswordMixin.create_password_fields()

    class Meta:
        model = Customer
        fields = ("email", "full_name", "born_on")

    def clean(self) -> Any:
        self.validate_passwords()
        return super().clean()

    def _post_clean(self) -> None:
        super()._post_clean()
        self.validate_password_for_user(self.instance)

    def save(self, commit: bool = True) -> Any:
        return self.set_password_and_save(super().save(commit=False), commit=commit)


def register(request: HttpRequest) -> HttpResponse:
    """Without `login()`: the cookie of the guest's that is now a regular user's is enough."""
    was_guest = registering_user(request).pk is not None
    form = RegisterForm(request.POST or None, instance=registering_user(request))
    if not form.is_valid():
        return HttpResponse(form.errors.as_json(), status=400)
    customer = promote_guest(request, form.save)
    if not was_guest:
        login(request, customer, backend="anonusers.backends.ModelBackend")
    assert customer.born_on == date(1990, 1, 2)
    return HttpResponseRedirect("/whoami/")
