"""Sphinx: `make docs` builds the site into docs/_build, and a warning is an error."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

project = "anonusers"
copyright = "the anonusers contributors"
release = version = installed("anonusers")
language = "en_GB"

extensions = ["myst_parser", "generated", "mirrored"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build", "_ext"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
# JSON and shell with "…" in it, Python with "..., " in it: shown as they are.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "anonusers"
html_static_path = ["_static"]
html_css_files = ["house.css"]
html_copy_source = html_show_sourcelink = False
html_show_sphinx = html_domain_indices = False
html_favicon = "../anonusers/static/anonusers/icon.svg"
add_module_names = False
python_display_short_literal_types = True
toc_object_entries = False
