"""All routes of this deployment: the only place that knows every room."""

from django.urls import URLPattern, URLResolver, include, path

from config.metrics import metrics

urlpatterns: list[URLPattern | URLResolver] = [
    path("metrics", metrics),
    path("", include("example.urls")),
    path("portal/", include("portal.urls")),
    path("", include("anonusers.urls")),
]

handler400 = "anonusers.protocols.fallback.bad_request"
handler403 = "anonusers.protocols.fallback.permission_denied"
handler404 = "anonusers.protocols.fallback.not_found"
handler500 = "anonusers.protocols.fallback.server_error"
