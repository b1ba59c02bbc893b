"""Import, export, drafts, deployments."""

from http import HTTPStatus
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from anonusers.audit import record
from anonusers.realm_files import STRATEGIES, directory_of, export_files, fold, read_document, zip_of
from anonusers.realm_kept import MERGE
from anonusers.realm_reading import GENERATIONS, STITCH
from portal.access import Role
from portal.models import Draft
from portal.realm_admin import drafts
from portal.realm_admin.apps import ids_of, name_of
from portal.realm_admin.views import AppView
from portal.realm_admin.wire import answer, bad_request, read_object
from portal.realm_import import import_directory, plan_for
from portal.review import lock

YES = "true"
FROM_STITCH_CLI = "X-STITCH-Request-Origin"


class DraftsView(AppView):
    """The project's draft."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return answer(drafts.list_drafts(self.project))

    def post(self, request: HttpRequest) -> HttpResponse:
        return answer(drafts.open_draft(self.project), HTTPStatus.CREATED)


class DraftView(AppView):
    """Discards it."""

    def delete(self, request: HttpRequest, draft_id: str) -> HttpResponse:
        drafts.drop_draft(self.project, draft_id, actor=self.operator)
        return answer()


class DraftDiffView(AppView):
    """What waits in it."""

    def get(self, request: HttpRequest, draft_id: str) -> HttpResponse:
        return answer(drafts.differences(self.project, drafts.find_draft(self.project, draft_id)))


class DraftDeploymentView(AppView):
    """Puts it into effect."""

    def post(self, request: HttpRequest, draft_id: str) -> HttpResponse:
        return answer(drafts.deploy_draft(self.project, draft_id, actor=self.operator), HTTPStatus.CREATED)


class DeploymentsView(AppView):
    """What was deployed."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return answer(drafts.list_deployments(self.project))


class DeploymentView(AppView):
    """One deployment."""

    def get(self, request: HttpRequest, deployment_id: str) -> HttpResponse:
        return answer(drafts.render_deployment(drafts.find_deployment(self.project, deployment_id)))


class RedeployView(AppView):
    """Its outcome once more."""

    def post(self, request: HttpRequest, deployment_id: str) -> HttpResponse:
        found = drafts.find_deployment(self.project, deployment_id)
        drafts.redeploy(self.project, found, actor=self.operator)
        return answer()


class DeployConfigView(AppView):
    """Whether changes are collected for a review: the owners', as in the portal."""

    writes_as = Role.OWNER

    def get(self, request: HttpRequest) -> HttpResponse:
        draft = Draft.objects.filter(project=self.project, for_one_deployment=False).first()
        return answer({"ui_drafts_disabled": draft is None, "automatic_deployment": {"enabled": False}})

    def patch(self, request: HttpRequest) -> HttpResponse:
        wanted = read_object(request)
        automatic = wanted.get("automatic_deployment") or {}
        if not isinstance(automatic, dict) or automatic.get("enabled", False) is not False:
            raise bad_request("automatic deployment is not supported by this server")
        disabled = wanted.get("ui_drafts_disabled")
        if disabled is not None:
            if not isinstance(disabled, bool):
                raise bad_request("ui_drafts_disabled must be true or false", "InvalidParameter")
            self.switch(collects=not disabled)
        return answer()

    def switch(self, *, collects: bool) -> None:
        with transaction.atomic():
            project, draft = lock(self.project)
            if collects == (draft is not None and not draft.for_one_deployment):
                return
            if draft is not None and not collects and drafts.has_something(draft):
                raise bad_request("changes wait for a review: deploy or discard them first")
            if collects:
                Draft.objects.update_or_create(project=project, defaults={"for_one_deployment": False})
            elif draft is not None:
                draft.delete()
            verb = "review.enabled" if collects else "review.disabled"
            record("settings", verb, project=project, actor=self.operator, target="project")


class ImportView(AppView):
    """An app directory, folded into one object. With `diff=true` nothing is changed, so viewers may ask, too."""

    def prepare(self, **kwargs: Any) -> dict[str, Any]:
        self.is_dry = self.request.GET.get("diff") == YES
        if self.is_dry:
            self.writes_as = Role.VIEWER  # type: ignore[misc]
        return super().prepare(**kwargs)

    def post(self, request: HttpRequest) -> HttpResponse:
        strategy = request.GET.get("strategy", MERGE)
        if strategy not in STRATEGIES:
            raise bad_request(f"strategy must be one of {', '.join(STRATEGIES)}", "InvalidParameter")
        directory = read_document(read_object(request))
        if self.is_dry:
            plan = plan_for(self.project, directory, strategy=strategy)
            # The tools take an empty list for "nothing to do", so warnings alone are none.
            warnings = [f"! {warning}" for warning in plan.warnings] if plan.words else []
            return answer([*plan.words, *warnings])
        import_directory(self.project, directory, strategy=strategy, actor=self.operator)
        return answer()


class PullView(AppView):
    """What is in effect, as one object."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return answer(fold(directory_of(self.project)))


class PushView(AppView):
    """Some of it, changed."""

    def patch(self, request: HttpRequest) -> HttpResponse:
        import_directory(self.project, read_document(read_object(request)), strategy=MERGE, actor=self.operator)
        return answer()


class ExportView(AppView):
    """What is in effect, as a ZIP file that both tools unpack: up to the last `_` its name is the folder's."""

    def get(self, request: HttpRequest) -> HttpResponse:
        is_template = request.GET.get("template") == YES
        files = export_files(self.project.slug, version=self.version(), with_ids=not is_template)
        response = HttpResponse(zip_of(files), content_type="application/zip")
        name = f"{name_of(self.project, ids_of(self.project))}_{timezone.now():%Y%m%d%H%M%S}.zip"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        response.headers["Cache-Control"] = "no-store"
        return response

    def version(self) -> int | None:
        """The generation that is asked for. stitch-cli asks for none and reads one only."""
        asked = self.request.GET.get("version", "")
        if not asked:
            return STITCH if FROM_STITCH_CLI in self.request.headers else None
        if asked not in map(str, GENERATIONS):
            raise bad_request(f"version must be one of {', '.join(map(str, GENERATIONS))}", "InvalidParameter")
        return int(asked)
