"""Routes of the Admin API. None ends with a slash; what is not listed is answered in JSON, too."""

from django.urls import URLPattern, URLResolver, include, path, re_path

from portal.realm_admin import app_views, auth_views, deploy_views, registration_views, user_views, views
from portal.realm_admin import settings_views as settings

app_name = "realm_admin"

in_app: list[URLPattern | URLResolver] = [
    path("auth_providers", settings.ProvidersView.as_view(), name="providers"),
    path("auth_providers/<str:provider_id>", settings.ProviderView.as_view(), name="provider"),
    path(
        "auth_providers/<str:provider_id>/enable",
        settings.ProviderSwitchView.as_view(disabled=False),
        name="provider-enable",
    ),
    path(
        "auth_providers/<str:provider_id>/disable",
        settings.ProviderSwitchView.as_view(disabled=True),
        name="provider-disable",
    ),
    path("security/allowed_request_origins", settings.OriginsView.as_view(), name="origins"),
    path("security/refresh_token_expiration", settings.ExpirationView.as_view(), name="expiration"),
    path("custom_user_data", settings.CustomUserDataView.as_view(), name="custom-user-data"),
    path("drafts", deploy_views.DraftsView.as_view(), name="drafts"),
    path("drafts/<str:draft_id>", deploy_views.DraftView.as_view(), name="draft"),
    path("drafts/<str:draft_id>/diff", deploy_views.DraftDiffView.as_view(), name="draft-diff"),
    path("drafts/<str:draft_id>/deployment", deploy_views.DraftDeploymentView.as_view(), name="draft-deployment"),
    path("deployments", deploy_views.DeploymentsView.as_view(), name="deployments"),
    path("deployments/<str:deployment_id>", deploy_views.DeploymentView.as_view(), name="deployment"),
    path("deployments/<str:deployment_id>/redeploy", deploy_views.RedeployView.as_view(), name="redeploy"),
    path("deploy/config", deploy_views.DeployConfigView.as_view(), name="deploy-config"),
    path("import", deploy_views.ImportView.as_view(), name="import"),
    path("export", deploy_views.ExportView.as_view(), name="export"),
    path("pull", deploy_views.PullView.as_view(), name="pull"),
    path("push", deploy_views.PushView.as_view(), name="push"),
    path("users", user_views.UsersView.as_view(), name="users"),
    path("users/verify_token", user_views.VerifyTokenView.as_view(), name="verify-token"),
    path("users/<str:user_id>", user_views.UserView.as_view(), name="user"),
    path("users/<str:user_id>/devices", user_views.DevicesView.as_view(), name="devices"),
    path("users/<str:user_id>/disable", user_views.UserDeedView.as_view(deed="disable"), name="user-disable"),
    path("users/<str:user_id>/enable", user_views.UserDeedView.as_view(deed="enable"), name="user-enable"),
    path("users/<str:user_id>/logout", user_views.UserDeedView.as_view(deed="logout"), name="user-logout"),
    path("users/<str:user_id>/reset_email", registration_views.ResetEmailView.as_view(), name="reset-email"),
    path("user_registrations/pending_users", registration_views.PendingView.as_view(), name="pending"),
    path("user_registrations/by_email/<str:email>", registration_views.RegistrationView.as_view(), name="registration"),
    path(
        "user_registrations/by_email/<str:email>/confirm",
        registration_views.ConfirmView.as_view(),
        name="registration-confirm",
    ),
    path(
        "user_registrations/by_email/<str:email>/run_confirm",
        registration_views.RunConfirmView.as_view(),
        name="registration-run-confirm",
    ),
    path(
        "user_registrations/by_email/<str:email>/send_confirm",
        registration_views.SendConfirmView.as_view(),
        name="registration-send-confirm",
    ),
]

admin: list[URLPattern | URLResolver] = [
    path("auth/providers/<str:provider>/login", auth_views.LoginView.as_view(), name="login"),
    path("auth/profile", auth_views.ProfileView.as_view(), name="profile"),
    path("auth/session", auth_views.SessionView.as_view(), name="session"),
    path("groups/<str:group_id>/apps", app_views.AppsView.as_view(), name="apps"),
    path("groups/<str:group_id>/apps/<str:app_id>", app_views.OneAppView.as_view(), name="app"),
    path("groups/<str:group_id>/apps/<str:app_id>/", include(in_app)),
]

urlpatterns = [
    path("api/admin/v3.0/", include(admin)),
    path("api/private/v1.0/version", views.VersionView.as_view(), name="version"),
    re_path(r"^api/(?:admin|private)(?:/|$)", views.NothingView.as_view(), name="nothing"),
]
