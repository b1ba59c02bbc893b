"""Routes of the portal."""

from django.urls import include, path

from portal.views import (
    anonymous_users,
    api_keys,
    applications,
    audit,
    home,
    jobs,
    join,
    keys,
    login_promotion,
    overview,
    projects,
    quick_start,
    realm,
    retention,
    review,
    session,
    sign_in,
    team,
    user_detail,
    users,
)

app_name = "portal"

in_project = [
    path("", home.ProjectHomeView.as_view(), name="project"),
    path("overview/", overview.OverviewView.as_view(), name="overview"),
    path("users/", users.UsersView.as_view(), name="users"),
    path("users/export/", users.ExportView.as_view(), name="users-export"),
    path("users/bulk/", jobs.BulkView.as_view(), name="users-bulk"),
    path("users/new/", users.NewGuestView.as_view(), name="user-new"),
    path("users/<uuid:sub>/", user_detail.UserView.as_view(), name="user"),
    path("jobs/<int:pk>/", jobs.JobView.as_view(), name="job"),
    path("anonymous-users/", anonymous_users.AnonymousUsersView.as_view(), name="anonymous-users"),
    path("login/", login_promotion.LoginPromotionView.as_view(), name="login-promotion"),
    path("applications/", applications.ApplicationsView.as_view(), name="applications"),
    path("applications/new/", applications.NewApplicationView.as_view(), name="application-new"),
    path("applications/<int:pk>/", applications.ApplicationView.as_view(), name="application"),
    path("applications/<int:pk>/quick-start/", quick_start.QuickStartView.as_view(), name="quick-start"),
    path("applications/<int:pk>/delete/", applications.DeleteApplicationView.as_view(), name="application-delete"),
    path("retention/", retention.RetentionView.as_view(), name="retention"),
    path("session/", session.SessionView.as_view(), name="session"),
    path("keys/", keys.KeysView.as_view(), name="keys"),
    path("realm/", realm.RealmView.as_view(), name="realm"),
    path("audit/", audit.AuditView.as_view(), name="audit"),
    path("audit/export/", audit.ExportView.as_view(), name="audit-export"),
    path("team/", team.TeamView.as_view(), name="team"),
    path("settings/", projects.ProjectSettingsView.as_view(), name="project-settings"),
    path("delete/", projects.DeleteProjectView.as_view(), name="project-delete"),
    path("review/", review.ReviewView.as_view(), name="review"),
    path("deployments/", review.DeploymentsView.as_view(), name="deployments"),
    path("deployments/<int:number>/", review.DeploymentView.as_view(), name="deployment"),
]

urlpatterns = [
    path("", home.HomeView.as_view(), name="home"),
    path("login/", sign_in.SignInView.as_view(), name="login"),
    path("logout/", sign_in.SignOutView.as_view(), name="logout"),
    path("join/<str:uid>/<str:token>/", join.JoinView.as_view(), name="join"),
    path("me/api-keys/", api_keys.ApiKeysView.as_view(), name="api-keys"),
    path("new/", projects.NewProjectView.as_view(), name="project-new"),
    path("<slug:project_slug>/", include(in_project)),
]
