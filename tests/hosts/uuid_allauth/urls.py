from dj_rest_auth.registration.views import RegisterView
from django.urls import include, path

from tests.hosts.uuid_allauth.views import MembersView, members

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("_allauth/", include("allauth.headless.urls")),
    path("rest/register/", RegisterView.as_view()),
    path("members/", members),
    path("members/class/", MembersView.as_view()),
    path("", include("tests.hosts.notes.urls")),
]
