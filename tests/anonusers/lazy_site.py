"""A host's site that makes guests only when necessary: every way to ask for one, and what the views saw."""

from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from anonusers.authentication import BearerAuthentication, CookieAuthentication
from anonusers.decorators import guest_required_on_write
from anonusers.guests import attach_guest, ensure_guest
from anonusers.mixins import GuestRequiredOnWriteMixin
from anonusers.permissions import GuestOnWrite
from tests.conftest import HOST

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
)
GPTBOT = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)"
OF_BROWSER = {"HTTP_HOST": HOST, "HTTP_USER_AGENT": CHROME}
ALL_BEFORE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
GUEST_MIDDLEWARE = "anonusers.middleware.GuestMiddleware"

seen = []  # the names of who the views saw, empty for nobody


def note(request):
    seen.append(request.user.get_username())
    return HttpResponse("done")


def still(request):
    """Never looks at who asks."""
    return HttpResponse("the same for everybody")


def form(request):
    get_token(request)
    return note(request)


async def note_async(request):
    user = await request.auser()
    seen.append(user.get_username())
    return HttpResponse("done")


def by_hand(request):
    end_user = ensure_guest(request, attached=True)
    assert ensure_guest(request) == end_user
    response = note(request)
    attach_guest(request, response)
    return response


def lost(request):
    ensure_guest(request)
    return HttpResponse("never")


def broken(request):
    raise RuntimeError


@method_decorator(guest_required_on_write, name="dispatch")
class Decorated(View):
    def get(self, request):
        return note(request)

    post = get


class Async(View):
    async def get(self, request):
        return await note_async(request)

    post = get


class Mixed(GuestRequiredOnWriteMixin):
    guest_application = "web"

    def get(self, request):
        return note(request)

    post = put = get


class MixedStill(GuestRequiredOnWriteMixin):
    def get(self, request):
        return still(request)


class MixedAsync(GuestRequiredOnWriteMixin):
    async def get(self, request):
        return await note_async(request)

    async def post(self, request):
        return await note_async(request)


class Api(APIView):
    authentication_classes = [BearerAuthentication, CookieAuthentication]
    permission_classes = [GuestOnWrite, IsAuthenticated]
    renderer_classes = [JSONRenderer]

    def get(self, request):
        seen.append(request.user.get_username())
        # Django's own request, which middleware and templates see, has the same user.
        assert request._request.user == request.user
        return Response({"kind": getattr(request.auth, "kind", None)})

    post = put = delete = get


class OpenApi(Api):
    permission_classes = [GuestOnWrite]
    guest_application = "web"

    def get(self, request):
        seen.append(request.user.get_username())
        return Response({"kind": getattr(request.auth, "kind", None)})

    post = get


class CookieApi(Api):
    authentication_classes = [CookieAuthentication]
    permission_classes = [IsAuthenticated]


urlpatterns = [
    path("plain/", note),
    path("still/", still),
    path("form/", form),
    path("by-hand/", by_hand),
    path("lost/", lost),
    path("broken/", broken),
    path("decorated/broken/", guest_required_on_write(broken)),
    path("decorated/", guest_required_on_write(note)),
    path("decorated/still/", guest_required_on_write(still)),
    path("decorated/web/", guest_required_on_write(application="web")(note)),
    path("decorated/unknown/", guest_required_on_write(application="nowhere")(note)),
    path("decorated/async/", guest_required_on_write(note_async)),
    path("decorated/async/class/", guest_required_on_write(Async.as_view())),
    path("decorated/class/", Decorated.as_view()),
    path("mixed/", Mixed.as_view()),
    path("mixed/still/", MixedStill.as_view()),
    path("mixed/async/", MixedAsync.as_view()),
    path("api/", Api.as_view()),
    path("api/open/", OpenApi.as_view()),
    path("api/cookie/", CookieApi.as_view()),
]
