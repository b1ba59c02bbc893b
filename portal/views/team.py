"""The team of a project."""

from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal import team
from portal.access import Role, is_administrator, projects_of
from portal.models import Membership
from portal.views.pages import ProjectView

SHOWN_ONCE = "portal_invitation"
"""In the operator's session, from the answer that made a link to the page that shows it."""


class MemberForm(forms.Form):
    """Who joins, and as what."""

    who = forms.CharField(
        label=gettext_lazy("User name or e-mail address"),
        max_length=254,
        widget=forms.TextInput(
            {"class": "input", "autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
        help_text=gettext_lazy(
            "Of somebody who has an operator's account. For an address without one, an account is made and invited."
        ),
        error_messages={"required": gettext_lazy("Enter a user name or an e-mail address.")},
    )
    role = forms.ChoiceField(
        label=gettext_lazy("Role"),
        choices=Role.choices,
        initial=Role.VIEWER,
        widget=forms.Select({"class": "input"}),
        error_messages={"invalid_choice": gettext_lazy("Choose one of the roles.")},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)


class TeamView(ProjectView):
    """Who may see and change the project. Owners add, change and remove; `?remove=` asks before it is done."""

    template_name = "portal/team.html"
    section = "team"
    writes_as = Role.OWNER

    def get(self, request: HttpRequest) -> HttpResponse:
        if "remove" in request.GET and self.may_change():
            return self.confirmation()
        return self.team_page(MemberForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        actions = {"add": self.add, "role": self.change_role, "remove": self.remove, "link": self.new_link}
        action = actions.get(request.POST.get("action", ""))
        if action is None:
            return self.problem(_("This form is not complete. Open the page again."))
        try:
            return action()
        except ValidationError as error:
            return self.problem(*error.messages)

    # What the forms do

    def add(self) -> HttpResponse:
        form = MemberForm(self.request.POST)
        if form.is_valid():
            try:
                return self.add_or_invite(form.cleaned_data["who"], form.cleaned_data["role"])
            except ValidationError as error:
                form.add_error("who", error)
        return self.team_page(form, status=HTTPStatus.BAD_REQUEST)

    def add_or_invite(self, who: str, role: str) -> HttpResponse:
        facts: dict[str, Any] = {"project": self.project, "role": role, "actor": self.request.user}
        if (operator := team.find_operator(who)) is not None:
            member = team.add_member(user=operator, **facts)
            said = _("%(name)s is in the team now, as %(role)s.")
            return self.done(said % {"name": who, "role": team.role_said(member)})
        if "@" not in who:
            raise ValidationError(
                _("No operator has this user name. To invite somebody new, enter their e-mail address.")
            )
        validate_email(who)
        return self.hand_over(team.invite(address=who, **facts), who)

    def hand_over(self, invited: team.Invited, address: str = "") -> HttpResponse:
        """Keep the link for the next page, which shows it once, and mail it where mail goes out."""
        link = self.request.build_absolute_uri(reverse("portal:join", args=[invited.uid, invited.token]))
        is_mailed = bool(address) and team.mail_is_sent()
        if is_mailed and not team.mail_invitation(invited=invited, address=address, link=link):
            messages.warning(self.request, _("The mail could not be sent. Hand over the link yourself."))
            is_mailed = False
        name = invited.member.user.get_username()
        self.request.session[SHOWN_ONCE] = {"link": link, "name": name, "mailed_to": address if is_mailed else ""}
        return self.done()

    def new_link(self) -> HttpResponse:
        return self.hand_over(team.invite_again(member=self.member(self.request.POST.get("member"))))

    def change_role(self) -> HttpResponse:
        role = self.request.POST.get("role", "")
        if role not in Role.values:
            raise ValidationError(_("Choose one of the roles."))
        wanted = self.member(self.request.POST.get("member")).pk
        member = team.change_role(project=self.project, member_id=wanted, role=role, actor=self.request.user)
        if member is None:
            raise Http404
        said = _("%(name)s: the role is %(role)s now.")
        return self.done(said % {"name": member.user.get_username(), "role": team.role_said(member)})

    def remove(self) -> HttpResponse:
        wanted = self.member(self.request.POST.get("member")).pk
        member = team.remove_member(project=self.project, member_id=wanted, actor=self.request.user)
        if member is None:
            raise Http404
        return self.done(_("%(name)s is no longer in the team.") % {"name": member.user.get_username()})

    def done(self, said: str = "") -> HttpResponse:
        if said:
            messages.success(self.request, said)
        stays = projects_of(self.request.user).filter(pk=self.project.pk).exists()
        return redirect("portal:team", self.project.slug) if stays else redirect("portal:home")

    # Pages

    def may_change(self) -> bool:
        return self.role == Role.OWNER

    def members(self) -> list[Membership]:
        rows = Membership.objects.filter(project=self.project).select_related("user")
        return sorted(rows, key=lambda row: (Role.values.index(row.role), row.user.get_username().lower()))

    def member(self, pk: str | None) -> Membership:
        """One of this team. Raises: Http404"""
        found = [row for row in self.members() if str(row.pk) == pk]
        if not found:
            raise Http404
        return found[0]

    def team_page(self, form: MemberForm, status: HTTPStatus = HTTPStatus.OK, **context: Any) -> HttpResponse:
        members = self.members()
        return self.page(
            status,
            form=form,
            members=members,
            waiting=team.waiting(self.project, members),
            roles=Role.choices,
            owners=sum(member.role == Role.OWNER for member in members),
            invitation=self.request.session.pop(SHOWN_ONCE, None) if self.request.method == "GET" else None,
            is_administrator=is_administrator(self.request.user),
            **context,
        )

    def problem(self, *said: str) -> HttpResponse:
        return self.team_page(MemberForm(), HTTPStatus.BAD_REQUEST, problems=said)

    def confirmation(self) -> HttpResponse:
        self.template_name = "portal/team_remove.html"  # type: ignore[misc]
        return self.page(member=self.member(self.request.GET["remove"]))
