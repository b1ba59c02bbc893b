"""Bridges to other packages. Each is an app with an extra of its own, and nothing else here imports it."""
