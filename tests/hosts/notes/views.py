"""Plain Django views, which know guests by one decorator."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from anonusers.decorators import guest_required_on_write
from anonusers.userinfo import is_guest, sub_of
from tests.hosts.notes.models import Note


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the same for everybody")


@require_POST
def basket(request: HttpRequest) -> HttpResponse:
    request.session["basket"] = [*request.session.get("basket", []), request.POST["item"]]
    return JsonResponse({"basket": request.session["basket"]})


@guest_required_on_write
def notes(request: HttpRequest) -> HttpResponse:
    Note.objects.create(author=request.user, text=request.POST["text"])
    return JsonResponse({})


@guest_required_on_write
def empty(request: HttpRequest) -> HttpResponse:
    return JsonResponse({})


def describe(request: HttpRequest) -> JsonResponse:
    """Whom the host sees."""
    user = request.user
    kind = "visitor" if not user.is_authenticated else "guest" if is_guest(user) else "member"
    texts = list(Note.objects.filter(author=user.pk).order_by("pk").values_list("text", flat=True)) if user.pk else []
    sub = sub_of(user)
    return JsonResponse(
        {
            "kind": kind,
            "pk": str(user.pk) if user.pk else None,
            "sub": str(sub) if sub else None,
            "basket": request.session.get("basket", []),
            "notes": texts,
        }
    )
