"""All routes of this deployment: the only place that knows every room."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from config.metrics import metrics

urlpatterns: list[URLPattern | URLResolver] = [
    path("metrics", metrics),
    path("", include("example.urls")),
    path("portal/", include("portal.urls")),
    # One door for operators, which counts attempts; Django's own does not.
    path("admin/login/", RedirectView.as_view(pattern_name="portal:login", query_string=True)),
    path("admin/", admin.site.urls),
    # For the command-line tools of MongoDB Stitch and Realm; before the native API, whose /api/ takes everything.
    path("", include("portal.realm_admin.urls")),
    path("", include("anonusers.urls")),
]

handler400 = "anonusers.protocols.fallback.bad_request"
handler403 = "anonusers.protocols.fallback.permission_denied"
handler404 = "anonusers.protocols.fallback.not_found"
handler500 = "anonusers.protocols.fallback.server_error"
