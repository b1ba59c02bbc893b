"""A host's site where some views ask only whether somebody is logged in, and others say whom they mean."""

import functools

from django.contrib import admin
from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth.decorators import login_not_required, login_required, permission_required, user_passes_test
from django.contrib.auth.mixins import LoginRequiredMixin, PermissionRequiredMixin, UserPassesTestMixin
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpResponse
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import RedirectView, TemplateView, View
from rest_framework import permissions as drf
from rest_framework.authentication import SessionAuthentication, TokenAuthentication
from rest_framework.decorators import action, api_view, authentication_classes, permission_classes
from rest_framework.response import Response
from rest_framework.routers import DefaultRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from anonusers.authentication import BearerAuthentication, CookieAuthentication
from anonusers.decorators import guest_allowed, guest_required_on_write, member_required
from anonusers.mixins import GuestAllowedMixin, GuestRequiredOnWriteMixin, MemberRequiredMixin
from anonusers.permissions import GuestOnWrite, IsGuest, IsGuestOrMember, IsMember
from anonusers.userinfo import is_member


def view(request):
    return HttpResponse()


def fresh():
    """A view of its own for each test of a decorator."""

    def inner(request):
        return HttpResponse()

    return inner


async def async_view(request):
    return HttpResponse()


class Page(View):
    def get(self, request):
        return HttpResponse()

    post = get


class Login(LoginRequiredMixin, Page):
    pass


class LoginAndTest(LoginRequiredMixin, UserPassesTestMixin, Page):
    def test_func(self):
        return True


class LoginAndPermission(LoginRequiredMixin, PermissionRequiredMixin, Page):
    permission_required = "example.add_comment"


class LoginAndAllowed(GuestAllowedMixin, LoginRequiredMixin, Page):
    pass


class Members(MemberRequiredMixin, Page):
    promotion_url = "/keep/"


class OnWrite(GuestRequiredOnWriteMixin, Page):
    pass


@method_decorator(login_required, name="dispatch")
class Decorated(Page):
    pass


@method_decorator([never_cache, login_required(login_url="/enter/")], name="dispatch")
class DecoratedByMany(Page):
    pass


class OfDecorated(Decorated):
    def dispatch(self, request, *args, **kwargs):
        return super().dispatch(request, *args, **kwargs)


class OneMethod(Page):
    @method_decorator(login_required)
    def post(self, request):
        return HttpResponse()


class EachMethod(Page):
    """What is said of one method is not said of the other."""

    @method_decorator(login_required)
    def get(self, request):
        return HttpResponse()

    @method_decorator(member_required(promotion_url="/keep/"))
    def post(self, request):
        return HttpResponse()


@method_decorator(staff_member_required, name="dispatch")
class DecoratedForStaff(Page):
    pass


@method_decorator(permission_required("example.add_comment"), name="dispatch")
class DecoratedForSome(Login):
    pass


@method_decorator(member_required(promotion_url="/keep/"), name="dispatch")
class DecoratedByUs(Login):
    pass


# --- DRF ---


class Api(APIView):
    authentication_classes = [BearerAuthentication]

    def get(self, request):
        return Response()


class Bare(Api):
    permission_classes = [drf.IsAuthenticated]


class BareCookie(Bare):
    authentication_classes = [TokenAuthentication, CookieAuthentication]


class OfSession(Bare):
    authentication_classes = [SessionAuthentication]


class OfToken(Bare):
    authentication_classes = [TokenAuthentication]


class Owner(drf.BasePermission):
    def has_permission(self, request, view):
        return True


class Owned(drf.IsAuthenticated):
    """Asks more of an object only."""

    def has_object_permission(self, request, view, obj):
        return False


class Paying(drf.IsAuthenticated):
    def has_permission(self, request, view):
        return super().has_permission(request, view) and False


class Readable(drf.DjangoModelPermissions):
    perms_map = drf.DjangoModelPermissions.perms_map | {"GET": ["%(app_label)s.view_%(model_name)s"]}


BARE = {
    "authenticated": [drf.IsAuthenticated],
    "read-only": [drf.IsAuthenticatedOrReadOnly],
    "model": [drf.DjangoModelPermissions],
    "object": [drf.DjangoObjectPermissions],
    "owner": [drf.IsAuthenticated, Owner],
    "owned": [Owned],
    "or-staff": [drf.IsAdminUser | drf.IsAuthenticated],
    "or-owner": [drf.IsAuthenticated | Owner],
    "and-owner": [drf.IsAuthenticated & Owner],
    "not-owner": [drf.IsAuthenticated & ~Owner],
}
CLEAN = {
    "nobody-asks": [],
    "any": [drf.AllowAny],
    "member": [IsMember],
    "authenticated-member": [drf.IsAuthenticated, IsMember],
    "and-member": [drf.IsAuthenticated & IsMember],
    "guest-or-member": [IsGuestOrMember],
    "not-guest": [drf.IsAuthenticated & ~IsGuest],
    "on-write": [GuestOnWrite, drf.IsAuthenticated],
    "staff": [drf.IsAuthenticated, drf.IsAdminUser],
    "staff-too": [drf.IsAdminUser | IsMember],
    "visitors": [~drf.IsAuthenticated],
    "paying": [Paying],
    "model": [Readable],
    "model-open": [drf.DjangoModelPermissionsOrAnonReadOnly],
    "owner": [Owner],
}


@api_view(["GET"])
@authentication_classes([CookieAuthentication])
@permission_classes([drf.IsAuthenticated])
def bare_function(request):
    return Response()


class Notes(ViewSet):
    authentication_classes = [BearerAuthentication]
    permission_classes = [IsGuestOrMember]

    def list(self, request):
        return Response()

    @action(detail=False, permission_classes=[drf.IsAuthenticated])
    def export(self, request):
        return Response()

    @action(detail=True, methods=["post"], permission_classes=[drf.IsAuthenticated & IsMember])
    def share(self, request, pk=None):
        return Response()


class Asked(Notes):
    """Says its permissions itself."""

    def get_permissions(self):
        if self.action == "share" or self.request.method == "DELETE":
            return [drf.IsAuthenticated()]
        return [(IsGuest | IsMember)()]


class Unaskable(Notes):
    def get_permissions(self):
        return [self.request.tenant.permission()]


class AskedForMore(Bare):
    def get_permissions(self):
        return [*super().get_permissions(), IsMember()]


router = DefaultRouter()
router.register("notes", Notes, basename="notes")
asked_router = DefaultRouter()
asked_router.register("asked", Asked, basename="asked")


class Odd:
    """A callable that is neither function nor class-based view."""

    def __call__(self, request):
        return HttpResponse()


class Hostile:
    """Answers every question with a fault, but for what Django itself asks when a route is made."""

    def __getattribute__(self, name):
        if name.startswith("__") and name != "__wrapped__":
            return super().__getattribute__(name)
        raise RuntimeError(name)

    def __call__(self, request):
        return HttpResponse()


def circular(request):
    return HttpResponse()


circular.__wrapped__ = circular


class ShopAdmin(admin.ModelAdmin):
    def report(self, request):
        return HttpResponse()


urlpatterns = []

loginless = login_not_required(fresh())
DJANGO_BARE = {
    "login": login_required(view),
    "login-keywords": login_required(login_url="/enter/")(fresh()),
    "login-async": login_required(async_view),
    "login-cached": never_cache(login_required(fresh())),
    "login-outside": login_required(never_cache(fresh())),
    "login-tested": login_required(user_passes_test(lambda user: True)(fresh())),
    "login-class": login_required(Page.as_view()),
    "login-template": login_required(TemplateView.as_view(template_name="x.html")),
    "login-partial": functools.partial(login_required(fresh()), number=1),
    "login-odd": login_required(Odd()),
    "mixin": Login.as_view(),
    "mixin-tested": LoginAndTest.as_view(),
    "decorated": Decorated.as_view(),
    "decorated-by-many": DecoratedByMany.as_view(),
    "of-decorated": OfDecorated.as_view(),
    "one-method": OneMethod.as_view(),
    "each-method": EachMethod.as_view(),
}
DJANGO_CLEAN = {
    "open": login_not_required(fresh()),
    "tested": user_passes_test(lambda user: True)(fresh()),
    "tested-member": login_required(user_passes_test(is_member)(fresh())),
    "permission": login_required(permission_required("example.add_comment")(fresh())),
    "staff": staff_member_required(login_required(fresh())),
    "admin": admin.site.admin_view(login_required(fresh())),
    "mixin-permission": LoginAndPermission.as_view(),
    "mixin-allowed": LoginAndAllowed.as_view(),
    "allowed": guest_allowed(login_required(fresh())),
    "allowed-inside": login_required(guest_allowed(fresh())),
    "allowed-class": guest_allowed(Login.as_view()),
    "members": member_required(promotion_url="/keep/")(login_required(fresh())),
    "members-class": Members.as_view(),
    "on-write": guest_required_on_write(login_required(fresh())),
    "on-write-class": OnWrite.as_view(),
    "decorated-for-staff": DecoratedForStaff.as_view(),
    "decorated-for-some": DecoratedForSome.as_view(),
    "decorated-by-us": DecoratedByUs.as_view(),
    "djangos": login_required(PasswordChangeView.as_view()),
    "redirect": login_required(RedirectView.as_view(url="/")),
    "hostile": Hostile(),
    "circular": circular,
    "admin-view": admin.site.admin_view(ShopAdmin(__import__("example.models").models.Comment, admin.site).report),
}


def routes(views):
    return [path(f"{name}/", found) for name, found in views.items()]


def api(permissions, cls=Api):
    """A class for each, so that each is told of by itself."""
    return {
        name: type(
            f"Api_{name.replace('-', '_')}", (cls,), {"permission_classes": found, "__module__": __name__}
        ).as_view()
        for name, found in permissions.items()
    }


nested = [re_path(r"^(?P<shop>\w+)/", include(([path("deep/", Bare.as_view())], "nested")))]
