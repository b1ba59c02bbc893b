"""Routes of the client API of MongoDB Stitch and Realm. None ends in a slash, none is ever redirected."""

from django.urls import include, path, re_path

from anonusers.protocols.realm import views

app_name = "realm"

user_scoped = [
    path("auth/profile", views.ProfileView.as_view(), name="profile"),
    path("auth/session", views.SessionView.as_view(), name="session"),
    path("auth/delete", views.DeleteView.as_view(), name="delete"),
]

app_scoped = [
    path("location", views.LocationView.as_view(), name="location"),
    path("functions/call", views.FunctionView.as_view(), name="function"),
    path("auth/providers/anon-user/login", views.AnonymousLoginView.as_view(), name="anonymous-login"),
    path("auth/providers/<str:provider>/<path:rest>", views.ProviderView.as_view()),
]

urlpatterns = [
    # A base URL that ends in a slash makes SDKs ask for //api/…
    re_path(
        r"^/*api/client/",
        include(
            [
                path("v2.0/app/<str:app_id>/", include(app_scoped)),
                path("v2.0/", include(user_scoped)),
                # The written specification names the app here; the token would do.
                path("v2.0/app/<str:app_id>/", include(([*user_scoped], "of_app"))),
                re_path(r"", views.NotFoundView.as_view()),
            ]
        ),
    ),
]
