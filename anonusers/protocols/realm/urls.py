"""Routes of the client API of MongoDB Stitch and Realm. None ends in a slash, none is ever redirected."""

from django.urls import include, path, re_path

from anonusers.protocols.realm import api_keys, local_userpass, views
from anonusers.protocols.realm.custom_token import CustomTokenLoginView

app_name = "realm"

user_scoped = [
    path("auth/profile", views.ProfileView.as_view(), name="profile"),
    path("auth/session", views.SessionView.as_view(), name="session"),
    path("auth/delete", views.DeleteView.as_view(), name="delete"),
    path("auth/api_keys", api_keys.ApiKeysView.as_view(), name="api-keys"),
    path("auth/api_keys/<str:key_id>", api_keys.ApiKeyView.as_view(), name="api-key"),
    path("auth/api_keys/<str:key_id>/enable", api_keys.ApiKeyEnabledView.as_view(), name="api-key-enable"),
    path(
        "auth/api_keys/<str:key_id>/disable",
        api_keys.ApiKeyEnabledView.as_view(enabled=False),
        name="api-key-disable",
    ),
]

app_scoped = [
    path("location", views.LocationView.as_view(), name="location"),
    path("functions/call", views.FunctionView.as_view(), name="function"),
    path("auth/providers/anon-user/login", views.AnonymousLoginView.as_view(), name="anonymous-login"),
    path("auth/providers/custom-token/login", CustomTokenLoginView.as_view(), name="custom-token-login"),
    path("auth/providers/api-key/login", api_keys.ApiKeyLoginView.as_view(), name="api-key-login"),
    *(
        path(f"auth/providers/local-userpass/{name}", view.as_view(), name=f"userpass-{name.replace('/', '-')}")
        for name, view in (
            ("register", local_userpass.RegisterView),
            ("confirm", local_userpass.ConfirmView),
            ("confirm/send", local_userpass.SendConfirmationView),
            ("confirm/call", local_userpass.CallConfirmationView),
            ("reset", local_userpass.ResetView),
            ("reset/send", local_userpass.SendResetView),
            ("reset/call", local_userpass.CallResetView),
            ("login", local_userpass.UserpassLoginView),
        )
    ),
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
