"""`/metrics` for Prometheus."""

from hmac import compare_digest

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from anonusers.credentials import bearer_token
from anonusers.metrics import render


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The counters, for whoever sends METRICS_TOKEN as a bearer token. Nobody else learns that there are any."""
    expected, sent = settings.METRICS_TOKEN, bearer_token(request) or ""
    if not expected or not compare_digest(sent.encode(), expected.encode()):
        raise Http404
    rendered = render(settings.PROMETHEUS_MULTIPROC_DIR)
    if rendered is None:
        raise Http404
    body, content_type = rendered
    return HttpResponse(body, content_type=content_type, headers={"Cache-Control": "no-store"})
