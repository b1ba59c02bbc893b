"""The WSGI application as the workers of `make run` import it."""

import signal

# Ctrl-C reaches every process of the terminal at once. A worker that gets it beside the SIGTERM of granian's main
# process never ends (granian 2.8: 16 of 25 times), so here only the main process listens to it.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

from config.wsgi import application  # noqa: E402 - a worker may be interrupted while it imports

__all__ = ["application"]
