"""A host's site with a registration and log-in views of its own, over cookie, bearer token and Django's session."""

import json
from typing import Any

from django.contrib.auth import alogin, alogout, get_user_model, login, logout
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from anonusers.authentication import BearerAuthentication, CookieAuthentication
from anonusers.errors import AnonUsersError
from anonusers.guests import aensure_guest, guest_of
from anonusers.models import EndUser
from anonusers.registration import apromote_guest, leave_guest, promote_guest, registering_user, sign_in
from anonusers.userinfo import is_guest, is_member, sub_of

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "anonusers.middleware.GuestMiddleware",
]
BACKEND = "anonusers.backends.ModelBackend"


def saver(request: Any, data: dict[str, Any]) -> Any:
    """What a form does: fill the row, save it, return it."""
    user = get_user_model()() if data.get("another_row") else registering_user(request)

    def save() -> Any:
        user.username, user.email = data.get("username", "anna"), data.get("email", "anna@example.com")
        user.set_password(data.get("password", "nine tame walruses"))
        user.save()
        if data.get("fails"):
            raise ValueError("the host changed its mind")
        return None if data.get("nothing") else user

    return save


def given(data: dict[str, Any]) -> dict[str, Any]:
    return {name: data[f"as_{name}"] for name in ("email", "phone", "username") if f"as_{name}" in data} | {
        name: data[name] for name in ("verified", "method") if name in data
    }


def described(request: Any) -> dict[str, Any]:
    user, guest = request.user, guest_of(request)
    return {
        "pk": user.pk,
        "sub": str(sub_of(user)) if sub_of(user) else None,
        "guest": is_guest(user),
        "member": is_member(user),
        "guest_of": str(guest.pk) if guest else None,
        "name": user.get_username(),
    }


def whoami(request: HttpRequest) -> HttpResponse:
    return JsonResponse(described(request) | {"basket": request.session.get("basket", [])})


async def awhoami(request: HttpRequest) -> HttpResponse:
    user = await request.auser()
    return JsonResponse({"pk": user.pk, "guest": is_guest(user), "member": is_member(user)})


def put(request: HttpRequest) -> HttpResponse:
    request.session["basket"] = [*request.session.get("basket", []), request.POST["item"]]
    return HttpResponse("put")


def register(request: HttpRequest) -> HttpResponse:
    data = json.loads(request.body)
    try:
        user = promote_guest(request, saver(request, data), **given(data))
    except AnonUsersError as error:
        return JsonResponse({"code": error.code}, status=409)
    return JsonResponse({"saved": user.pk} | described(request))


async def aregister(request: HttpRequest) -> HttpResponse:
    data = json.loads(request.body)
    await request.auser()
    from asgiref.sync import sync_to_async

    save = await sync_to_async(saver)(request, data)
    user = await apromote_guest(request, save, **given(data))
    return JsonResponse({"saved": user.pk})


class Register(APIView):
    authentication_classes = [BearerAuthentication, CookieAuthentication]
    permission_classes = [AllowAny]
    renderer_classes = [JSONRenderer]

    def post(self, request: Request) -> Response:
        user = promote_guest(request, saver(request, request.data), **given(request.data))
        return Response({"saved": user.pk} | described(request))


def log_in(request: HttpRequest) -> HttpResponse:
    user = get_user_model()._default_manager.get(username=request.POST["username"])
    login(request, user, backend=request.POST.get("backend", BACKEND))
    return JsonResponse(described(request))


async def alog_in(request: HttpRequest) -> HttpResponse:
    user = await get_user_model()._default_manager.aget(username=request.POST["username"])
    await alogin(request, user, backend=BACKEND)
    return HttpResponse("in")


def log_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return JsonResponse({"user": request.user.pk})


async def alog_out(request: HttpRequest) -> HttpResponse:
    await alogout(request)
    return HttpResponse("out")


def leave(request: HttpRequest) -> HttpResponse:
    user = get_user_model()._default_manager.get(username=request.POST["username"])
    left = leave_guest(request, user, method="sms")
    return JsonResponse({"left": str(left.pk) if left else None})


def known(request: HttpRequest) -> HttpResponse:
    sign_in(request, EndUser.objects.select_related("user", "project").get(pk=request.POST["sub"]))
    return JsonResponse(described(request))


async def abecome(request: HttpRequest) -> HttpResponse:
    end_user = await aensure_guest(request)
    user = await request.auser()
    return JsonResponse({"sub": str(end_user.pk), "pk": user.pk})


urlpatterns = [
    path("whoami/", whoami),
    path("awhoami/", awhoami),
    path("put/", put),
    path("register/", register),
    path("aregister/", aregister),
    path("api/register/", Register.as_view()),
    path("log-in/", log_in),
    path("alog-in/", alog_in),
    path("log-out/", log_out),
    path("alog-out/", alog_out),
    path("leave/", leave),
    path("abecome/", abecome),
    path("sign-in/", known),
    path("", include("anonusers.urls")),
]
