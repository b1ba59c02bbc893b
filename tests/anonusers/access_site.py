"""A host's site that lets in some and not others: every decorator, mixin, permission and tag, sync and async."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpResponse
from django.template import engines
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from anonusers.authentication import BearerAuthentication, CookieAuthentication
from anonusers.decorators import guest_allowed, guest_required, guest_required_on_write, member_required
from anonusers.guests import aensure_guest
from anonusers.mixins import GuestAllowedMixin, GuestRequiredMixin, GuestRequiredOnWriteMixin, MemberRequiredMixin
from anonusers.permissions import IsGuest, IsGuestOrMember, IsGuestOrMemberOrReadOnly, IsMember
from anonusers.throttling import GuestThrottle
from anonusers.userinfo import is_guest, is_member

seen = []  # the names of who the views saw, empty for nobody


@login_not_required
def plain(request):
    """What looking at the user costs by itself."""
    seen.append(request.user.get_username() if request.user.is_authenticated else "")
    return HttpResponse("done")


@login_not_required
async def plain_async(request):
    user = await request.auser()
    seen.append(user.get_username())
    return HttpResponse("done")


def note(request, **captured):
    seen.append(request.user.get_username())
    # Whoever asks again asks nobody.
    assert is_member(request.user) or is_guest(request.user)
    return HttpResponse("done")


async def note_async(request, **captured):
    user = await request.auser()
    seen.append(user.get_username())
    return HttpResponse("done")


@login_not_required
async def made_async(request):
    """Makes a guest by itself, and sees them everywhere."""
    end_user = await aensure_guest(request)
    user = await request.auser()
    assert user.end_user == end_user == await aensure_guest(request)
    assert request.user == user
    assert (is_guest(user), is_member(user)) == (True, False)
    seen.append(user.get_username())
    return HttpResponse("done")


@login_not_required
async def looked_twice(request):
    """What one way of asking has found, the other one knows."""
    user = await request.auser()
    assert await request.auser() == user
    assert request.user == user
    seen.append(request.user.get_username())
    return HttpResponse("done")


def still(request):
    return HttpResponse("the same for everybody")


class Sync(View):
    def get(self, request, **captured):
        return note(request)

    post = put = delete = options = get


class Async(View):
    async def get(self, request, **captured):
        return await note_async(request)

    async def post(self, request, **captured):
        return await note_async(request)


class AllowedClass(GuestAllowedMixin, Sync):
    pass


class AllowedAsyncClass(GuestAllowedMixin, Async):
    pass


class RequiredClass(GuestRequiredMixin, Sync):
    member_url = "/members/"


class RequiredAsyncClass(GuestRequiredMixin, Async):
    member_url = "/members/"


class MemberClass(MemberRequiredMixin, Sync):
    promotion_url = "/keep/"


class MemberAsyncClass(MemberRequiredMixin, Async):
    promotion_url = "/keep/"


class Overridden(MemberRequiredMixin, Sync):
    promotion_url = "/keep/"

    def dispatch(self, request, *args, **kwargs):
        return super().dispatch(request, *args, **kwargs)


class BothClass(GuestAllowedMixin, MemberRequiredMixin, Sync):
    """The laxer one stands first, and the stricter one asks all the same."""

    promotion_url = "/keep/"


class BothAsyncClass(GuestAllowedMixin, MemberRequiredMixin, Async):
    promotion_url = "/keep/"


class OnWriteClass(GuestRequiredOnWriteMixin, View):
    def get(self, request):
        return HttpResponse("done")

    def post(self, request):
        return note(request)


@method_decorator(member_required(promotion_url="/keep/"), name="dispatch")
class Decorated(Sync):
    pass


class Api(APIView):
    authentication_classes = [BearerAuthentication, CookieAuthentication]
    renderer_classes = [JSONRenderer]

    def get(self, request, pk=None):
        if pk is not None:
            self.check_object_permissions(request, object())
        seen.append(request.user.get_username())
        return Response({"is_guest": is_guest(request.user), "is_member": is_member(request.user)})

    post = put = delete = get


class SessionApi(Api):
    """The user of Django's request: of GuestMiddleware, where nobody has logged in."""

    authentication_classes = [SessionAuthentication]


class ThrottledApi(Api):
    permission_classes = [AllowAny]
    throttle_classes = [GuestThrottle]


class ThrottledTooApi(ThrottledApi):
    pass


class SlowApi(ThrottledApi):
    guest_throttle_rate = "1/h"


class HourThrottle(GuestThrottle):
    rate = "1/h"


class HourlyApi(ThrottledApi):
    throttle_classes = [HourThrottle]


class MemberPage(MemberRequiredMixin, Api):
    """A mixin in front of a DRF view."""

    permission_classes = [AllowAny]


PERMISSIONS = {
    "guest": [IsGuest],
    "member": [IsMember],
    "both": [IsGuestOrMember],
    "read": [IsGuestOrMemberOrReadOnly],
    "or": [IsGuest | IsMember],
    "and": [IsGuestOrMember & IsMember],
    "not": [~IsGuest],
    "not-member": [IsGuestOrMember, ~IsMember],
}

TEMPLATES = {
    "still": "{% load anonusers %}{% login_url %} {% promotion_url next='/a b/?c=d' %} {% logout_url next='/' %}",
    "filters": "{% load anonusers %}{{ user|is_guest }} {{ user|is_member }} {{ user|is_guest }}",
    "processor": "{% if is_guest %}guest{% elif is_member %}member{% endif %} {{ is_guest }} {{ sub }}",
    "processor-still": "{{ promotion_url }} {% if False %}{{ is_guest }}{% endif %}",
}


def page(name):
    def show(request):
        template = engines["django"].from_string(TEMPLATES[name])
        context = {"user": request.user} if name == "filters" else {}
        return HttpResponse(template.render(context, request))

    return login_not_required(show)


urlpatterns = [
    path("plain/", plain),
    path("plain/async/", plain_async),
    path("made/async/", made_async),
    path("looked/twice/", looked_twice),
    path("still/", still),
    path("allowed/", guest_allowed(note)),
    path("allowed/async/", guest_allowed(note_async)),
    path("allowed/class/", AllowedClass.as_view()),
    path("allowed/async/class/", AllowedAsyncClass.as_view()),
    path("allowed/async/decorated/", guest_allowed(Async.as_view())),
    path("allowed/keywords/", guest_allowed(login_url="/enter/", redirect_field_name="back")(note)),
    path("allowed/elsewhere/", guest_allowed(login_url="https://sso.example/enter?a=b")(note)),
    path("allowed/<int:number>/", guest_allowed(note), name="numbered"),
    path("required/", guest_required(member_url="/members/")(note)),
    path("required/async/", guest_required(member_url="/members/")(note_async)),
    path("required/class/", RequiredClass.as_view()),
    path("required/async/class/", RequiredAsyncClass.as_view()),
    path("required/bare/", guest_required(note)),
    path("member/", member_required(promotion_url="/keep/")(note)),
    path("member/async/", member_required(promotion_url="/keep/")(note_async)),
    path("member/class/", MemberClass.as_view()),
    path("member/async/class/", MemberAsyncClass.as_view()),
    path("member/decorated/class/", Decorated.as_view()),
    path("member/overridden/class/", Overridden.as_view()),
    path("member/both/class/", BothClass.as_view()),
    path("member/both/async/class/", BothAsyncClass.as_view()),
    path("member/bare/", member_required(note)),
    path("member/keywords/", member_required(promotion_url="numbered-keep", redirect_field_name="back")(note)),
    path("keep/this/", still, name="numbered-keep"),
    path("write/", guest_required_on_write(note)),
    path("write/class/", OnWriteClass.as_view()),
    path("write/member/", guest_required_on_write(member_required(note))),
    *(path(f"api/{name}/", Api.as_view(permission_classes=found)) for name, found in PERMISSIONS.items()),
    *(path(f"api/{name}/<int:pk>/", Api.as_view(permission_classes=found)) for name, found in PERMISSIONS.items()),
    *(path(f"session/{name}/", SessionApi.as_view(permission_classes=found)) for name, found in PERMISSIONS.items()),
    path("api/mixed/", MemberPage.as_view()),
    path("api/plain/", Api.as_view(permission_classes=[AllowAny])),
    path("session/plain/", SessionApi.as_view(permission_classes=[AllowAny])),
    path("throttled/", ThrottledApi.as_view()),
    path("throttled/too/", ThrottledTooApi.as_view()),
    path("throttled/slow/", SlowApi.as_view()),
    path("throttled/hourly/", HourlyApi.as_view()),
    *(path(f"page/{name}/", page(name)) for name in TEMPLATES),
    path("", include("anonusers.urls")),
]
