"""Everything this app serves, for `include("anonusers.urls")` at the root of a host's urls."""

from django.urls import include, path

app_name = "anonusers"

urlpatterns = [
    path("", include("anonusers.protocols.authgear.urls")),
    path("", include("anonusers.protocols.rest.urls")),
    path("", include("anonusers.pages.urls")),
]
