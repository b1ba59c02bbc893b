"""The doors: each package speaks one wire, none imports a sibling."""
