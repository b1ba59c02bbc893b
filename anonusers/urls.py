"""Everything this app serves, for `include("anonusers.urls")` at the root of a host's urls."""

from django.urls import include, path

app_name = "anonusers"

urlpatterns = [
    path("", include("anonusers.protocols.authgear.urls")),
    # Before the native API, which answers for all else below /api/.
    path("", include("anonusers.protocols.realm.urls")),
    path("", include("anonusers.protocols.rest.urls")),
    path("", include("anonusers.pages.urls")),
]
