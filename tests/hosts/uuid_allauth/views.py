from allauth.account.decorators import verified_email_required
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View


@verified_email_required
def members(request: HttpRequest) -> HttpResponse:
    return HttpResponse("for people whose address was confirmed")


@method_decorator(verified_email_required, name="dispatch")
class MembersView(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("for the same")
