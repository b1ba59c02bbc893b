"""Apps of a group."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

from portal.access import Role
from portal.realm_admin.apps import create_app, delete_app, list_apps, render_app
from portal.realm_admin.views import AppView, OperatorView
from portal.realm_admin.wire import answer, read_object


class AppsView(OperatorView):
    """The apps of a group."""

    def get(self, request: HttpRequest, group_id: str) -> HttpResponse:
        return answer(list_apps(self.operator, group_id=group_id, product=request.GET.get("product", "")))

    def post(self, request: HttpRequest, group_id: str) -> HttpResponse:
        app = create_app(self.operator, group_id=group_id, wanted=read_object(request))
        return answer(render_app(app), HTTPStatus.CREATED)


class OneAppView(AppView):
    """One app; deleting it is the owners'."""

    writes_as = Role.OWNER

    def get(self, request: HttpRequest) -> HttpResponse:
        return answer(render_app(self.project))

    def delete(self, request: HttpRequest) -> HttpResponse:
        delete_app(self.operator, self.project)
        return answer()
