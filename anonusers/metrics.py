"""Counters for Prometheus: a short fixed list, whose labels have few values and never say who somebody is.

They are counted by `prometheus_client` (extra `metrics`) in its own default registry, so that an exporter which the
host has already shows them too. Where it is not installed nothing is counted, and the log says what it says anyway.
"""

import threading
from importlib import import_module
from importlib.util import find_spec
from typing import Any

COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "anonusers_signups_total": ("Guests who came into being.", ("project", "kind")),
    "anonusers_logins_total": ("Sessions that were opened for somebody who was known before.", ("project", "kind")),
    "anonusers_promotions_total": ("Guests who kept their account, or went on as another one.", ("outcome",)),
    "anonusers_sessions_ended_total": ("Sessions that were ended before their time.", ("reason",)),
    "anonusers_rate_limited_total": ("Requests that a budget has refused.", ("budget",)),
    "anonusers_limits_store_down_total": ("Budgets that the shared store could not count.", ("outcome",)),
    "anonusers_cleanup_removed_total": ("Guests whom the clean-up has removed.", ("project",)),
    "anonusers_cleanup_runs_total": ("Clean-ups of one project, by how they ended.", ("project", "outcome")),
}
"""Name → what it counts, and its labels. `project` is a slug; all else is a word of ours."""

INSTALLED = find_spec("prometheus_client") is not None


def count(name: str, *labels: str, amount: int = 1) -> None:
    """Add to one of COUNTERS; `labels` in their order there. A few microseconds, and no statement."""
    if INSTALLED and amount:
        _counter(name).labels(*labels).inc(amount)


def render(directory: str = "") -> tuple[bytes, str] | None:
    """All that is counted in Prometheus' text format, and its content type; None where nothing counts.

    `directory` is prometheus_client's PROMETHEUS_MULTIPROC_DIR, where several processes count together; without it the
    counters are those of this process.
    """
    if not INSTALLED:
        return None
    library: Any = import_module("prometheus_client")
    registry = library.REGISTRY
    if directory:
        registry = library.CollectorRegistry()
        import_module("prometheus_client.multiprocess").MultiProcessCollector(registry, path=directory)
    else:
        for name in COUNTERS:
            _counter(name)  # one that has not happened yet is announced as well
    return library.generate_latest(registry), str(library.CONTENT_TYPE_LATEST)


_counters: dict[str, Any] = {}
_making = threading.Lock()


def _counter(name: str) -> Any:
    """Made at its first use: who never counts need not wait for the import."""
    counter = _counters.get(name)
    if counter is None:
        with _making:  # the registry refuses a second one of the same name
            counter = _counters.get(name)
            if counter is None:
                counter = _counters[name] = import_module("prometheus_client").Counter(name, *COUNTERS[name])
    return counter
