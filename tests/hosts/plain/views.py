"""A registration as Django's documentation has it, and the two lines that keep a guest's id."""

from django import forms
from django.contrib.auth import get_user_model, login
from django.contrib.auth.forms import BaseUserCreationForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from anonusers.registration import promote_guest, registering_user


class SignUpForm(BaseUserCreationForm):
    class Meta:
        model = get_user_model()
        fields = ("username", "email")

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        others = get_user_model()._default_manager.filter(email__iexact=email).exclude(pk=self.instance.pk)
        if others.exists():
            raise forms.ValidationError("Somebody has this address.")
        return email


def register(request: HttpRequest) -> HttpResponse:
    form = SignUpForm(request.POST or None, instance=registering_user(request))
    if not form.is_valid():
        return HttpResponse(form.errors.as_json(), status=400)
    user = promote_guest(request, form.save)
    login(request, user, backend="anonusers.backends.ModelBackend")
    return HttpResponseRedirect("/whoami/")
