from allauth.account.decorators import verified_email_required
from django.http import HttpRequest, HttpResponse


@verified_email_required
def members(request: HttpRequest) -> HttpResponse:
    return HttpResponse("for people whose address was confirmed")
