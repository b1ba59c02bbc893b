"""Routes of the hosted pages."""

from django.urls import path

from anonusers.pages import code, forgot, login, logout, promote, settings

app_name = "pages"

urlpatterns = [
    path("promote", promote.promote, name="promote"),
    path("login", login.login, name="login"),
    path("code", code.code, name="code"),
    path("forgot", forgot.forgot, name="forgot"),
    path("reset/<str:secret>", forgot.reset, name="reset"),
    path("settings", settings.settings, name="settings"),
    path("settings/password", settings.password, name="password"),
    path("settings/login-ids/add", settings.login_id_add, name="login-id-add"),
    path("settings/login-ids/<int:pk>/verify", settings.login_id_verify, name="login-id-verify"),
    path("settings/login-ids/<int:pk>/remove", settings.login_id_remove, name="login-id-remove"),
    path("settings/sessions/<uuid:session_id>/end", settings.session_end, name="session-end"),
    path("settings/keys/<int:pk>/remove", settings.key_remove, name="key-remove"),
    path("settings/delete", settings.delete, name="delete"),
    path("logout", logout.logout, name="logout"),
    path("logged-out", logout.logged_out, name="logged-out"),
]
