"""Tables and lists of the reference that are read from the code at build time, so that they cannot drift.

A page asks for one with a comment: `<!-- generated: settings -->`, or `<!-- generated: api anonusers.guests -->`.
What stands here turns code into Markdown; tests/test_docs.py looks whether all of it has arrived.
"""

import ast
import json
import re
import textwrap
from argparse import SUPPRESS, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import public

ROOT = Path(__file__).resolve().parent.parent.parent
ASKED = re.compile(r"^<!-- generated: (\w+)(?: ([\w.]+))? -->$", re.MULTILINE)


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", fill_in)
    app.connect("env-get-outdated", always_anew)
    return {"parallel_read_safe": True}


def fill_in(app: Any, docname: str, source: list[str]) -> None:
    source[0] = ASKED.sub(lambda asked: GENERATORS[asked[1]](*filter(None, [asked[2]])), source[0])


def always_anew(app: Any, env: Any, *changes: set[str]) -> list[str]:
    """The code may have changed where the page has not."""
    return [name for name in env.found_docs if ASKED.search(Path(env.doc2path(name)).read_text())]


# --- read from the source ---------------------------------------------------------------------------


def path_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def tree(module: str) -> ast.Module:
    return ast.parse(path_of(module).read_text())


def docstring_after(body: list[ast.stmt], index: int) -> str:
    """The string that stands below an assignment: Python ignores it, people do not."""
    if index + 1 < len(body):
        match body[index + 1]:
            case ast.Expr(value=ast.Constant(value=str() as text)):
                return textwrap.dedent(text.replace("\n    ", "\n")).strip()
    return ""


def assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr | None, ast.expr | None, str]]:
    """Every `name = value` and `name: type = value`, as (name, type, value, the string below)."""
    for index, node in enumerate(body):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name, node.annotation, node.value, docstring_after(body, index)
            case ast.Assign(targets=[ast.Name(id=name)]):
                yield name, None, node.value, docstring_after(body, index)


def quoted(value: ast.expr) -> str:
    """A value as the option of a directive, which is YAML and would take its quotes away."""
    return json.dumps(ast.unparse(value))


def cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines) + "\n"


# --- settings, events -------------------------------------------------------------------------------


def settings() -> str:
    conf = next(node for node in tree("anonusers.conf").body if isinstance(node, ast.ClassDef) and node.name == "Conf")
    found = []
    for name, type, value, text in assigned(conf.body):
        if name.isupper() and type is not None and value is not None:
            found.append(
                f"```{{py:data}} ANONUSERS_{name}\n:type: {ast.unparse(type)}\n:value: {quoted(value)}\n\n{text}\n```\n"
            )
    return "\n".join(found)


def events() -> str:
    body = tree("anonusers.events").body
    words = {name: text for name, _, _, text in assigned(body)}
    signals: Any = next(value for name, _, value, _ in assigned(body) if name == "SIGNALS")
    rows = []
    for key, value in zip(signals.keys, signals.values, strict=True):
        rows.append([f"`{key.value}`", f"`{value.id}`", words[value.id]])
    return table(["type", "signal in `anonusers.events`", "when"], rows)


# --- the Python API ---------------------------------------------------------------------------------


def api(module: str) -> str:
    """The public names of a module with what their docstrings say."""
    found = [f"```{{py:module}} {module}\n```\n"]
    found += [_told(name, *made_in(module, name)) for name in public.NAMES[module]]
    return "\n".join(found)


def made_in(module: str, name: str) -> tuple[str, list[ast.stmt], int]:
    """The module whose source makes a name, its statements, and which of them it is: a module may offer what another
    one makes."""
    body = tree(module).body
    for index, node in enumerate(_with_inner(body)):
        match node:
            case ast.FunctionDef(name=found) | ast.AsyncFunctionDef(name=found) | ast.ClassDef(name=found):
                # The last one counts: overloads stand before it.
                if found == name and not _is_overload(node):
                    return module, _with_inner(body), index
            case ast.AnnAssign(target=ast.Name(id=found)) | ast.Assign(targets=[ast.Name(id=found)]):
                if found == name:
                    return module, _with_inner(body), index
            case ast.ImportFrom(module=str(origin), names=names):
                if any(alias.name == name and alias.asname is None for alias in names):
                    return made_in(origin, name)
    raise LookupError(f"{module} has no {name}")


def _with_inner(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of a module with those of `try … else`, where something exists only with some versions."""
    inner = [statement for node in body if isinstance(node, ast.Try) for statement in node.orelse]
    return [*body, *inner]


def _is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    return any(ast.unparse(one) == "overload" for one in node.decorator_list)


def _told(name: str, module: str, body: list[ast.stmt], index: int) -> str:
    match body[index]:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() as node:
            return _described(node)
        case ast.Assign(value=ast.Call(func=ast.Name(id="sync_to_async"), args=[ast.Name(id=sync)])):
            # The async twin has the arguments of the function that it wraps.
            _, statements, place = made_in(module, sync)
            twin: Any = statements[place]
            signature = _signature(twin).replace(sync, name, 1)
            return f"```{{py:function}} {signature}\n:async:\n\n{docstring_after(body, index)}\n```\n"
        case ast.AnnAssign(annotation=annotation):
            return f"```{{py:data}} {name}\n:type: {ast.unparse(annotation)}\n\n{docstring_after(body, index)}\n```\n"
    return f"```{{py:data}} {name}\n\n{docstring_after(body, index)}\n```\n"


def _described(node: ast.stmt) -> str:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return _directive("function", node, _signature(node), ast.get_docstring(node) or "")
        case ast.ClassDef():
            parts = [ast.get_docstring(node) or ""]
            for name, type, value, text in assigned(node.body):
                if not name.startswith("_") and (text or _is_dataclass(node)):
                    told = f":type: {ast.unparse(type)}\n" if type else ""
                    told += f":value: {quoted(value)}\n" if value and not _is_field(value) else ""
                    parts.append(f"```{{py:attribute}} {name}\n{told}\n{text}\n```")
            for item in node.body:
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and _is_told(item):
                    is_property = any(ast.unparse(one) == "property" for one in item.decorator_list)
                    kind = "property" if is_property else "method"
                    signature = item.name if is_property else _signature(item, bound=True)
                    parts.append(_directive(kind, item, signature, ast.get_docstring(item) or ""))
            bases = ", ".join(ast.unparse(base) for base in node.bases)
            signature = f"{node.name}({bases})" if bases else node.name
            return f"````{{py:class}} {signature}\n\n" + "\n\n".join(parts) + "\n````\n"
    raise TypeError(node)


def _is_told(item: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return not item.name.startswith("_") and bool(ast.get_docstring(item))


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(one) for one in node.decorator_list)


def _is_field(value: ast.expr) -> bool:
    return ast.unparse(value).startswith("field(")


def _directive(kind: str, node: ast.FunctionDef | ast.AsyncFunctionDef, signature: str, text: str) -> str:
    option = ":async:\n" if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"```{{py:{kind}}} {signature}\n{option}\n{_list_raises(text)}\n```\n"


def _list_raises(text: str) -> str:
    """What a function raises stands in a paragraph of its own."""
    return re.sub(r"\n(?=Raises: )", "\n\n", text)


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, *, bound: bool = False) -> str:
    arguments = node.args
    is_static = any(ast.unparse(one) == "staticmethod" for one in node.decorator_list)
    if bound and not is_static:
        (arguments.posonlyargs or arguments.args).pop(0)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    # Sphinx cannot read an f-string as a default.
    told = re.sub(r"\bf(?=['\"])", "", ast.unparse(arguments))
    return f"{node.name}({told}){returns}"


# --- asked of the running code ----------------------------------------------------------------------


def _django() -> None:
    """A project with nothing but the two apps, enough to import commands, doors and urls."""
    import django
    from django.conf import settings

    if not settings.configured:
        apps = ["admin", "auth", "contenttypes", "sessions", "messages"]
        settings.configure(
            SECRET_KEY="of the docs",
            INSTALLED_APPS=[*(f"django.contrib.{name}" for name in apps), "rest_framework", "anonusers", "portal"],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            ROOT_URLCONF="anonusers.urls",
            USE_TZ=True,
        )
        django.setup()


def error_classes() -> list[Any]:
    _django()
    import_module("anonusers.protocols.errors")
    return list(import_module("anonusers.errors").all_errors())


def errors() -> str:
    classes = error_classes()
    rest = import_module("anonusers.protocols.rest.problems")
    wire = import_module("anonusers.protocols.authgear.wire")
    rows = []
    for error in sorted(classes, key=lambda one: one.code):
        name, reason, _ = wire.API_WORDS[error.code]
        oauth_status, word, _ = wire.OAUTH_WORDS[error.code]
        api_status = 405 if error.code == "method_refused" else wire.STATUS[name]
        rows.append(
            [
                f"`{error.code}` `{error.__name__}`",
                " ".join((error.__doc__ or "").split()),
                str(rest.PROBLEMS[error.code][0]),
                f"{api_status} `{reason}`",
                f"{oauth_status} `{word}`",
            ]
        )
    return table(["code, class", "means", "native API", "Authgear API", "Authgear OAuth"], rows)


def command_names() -> dict[str, str]:
    """Command → the app that has it."""
    return {
        path.stem: app
        for app in ("anonusers", "portal")
        for path in sorted((ROOT / app / "management/commands").glob("*.py"))
        if not path.stem.startswith("_")
    }


def command_parser(name: str) -> ArgumentParser:
    _django()
    app = command_names()[name]
    command = import_module(f"{app}.management.commands.{name}").Command()
    parser: ArgumentParser = command.create_parser("manage.py", name)
    return parser


# What every command of Django has.
DJANGOS = {"help", "version", "verbosity", "settings", "pythonpath", "traceback"}
DJANGOS |= {"no_color", "force_color", "skip_checks"}


def options_of(parser: ArgumentParser) -> Iterator[tuple[str, str]]:
    """Every argument of a command that is not Django's, as (how it is written, what it does)."""
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for name, sub in action.choices.items():
                for written, text in options_of(sub):
                    yield f"{name} {written}", text
        elif action.dest not in DJANGOS and action.help != SUPPRESS:
            value = action.metavar or action.dest.upper()
            takes_value = action.nargs != 0
            name = action.option_strings[-1] if action.option_strings else ""
            yield (f"{name} {value}".strip() if takes_value else name), action.help or ""


def commands() -> str:
    found = []
    for name in command_names():
        parser = command_parser(name)
        found.append(f"## `{name}`\n\n{parser.description}\n")
        rows = [[f"`{written}`", text] for written, text in options_of(parser)]
        if rows:
            found.append(table(["argument", "meaning"], rows))
    return "\n".join(found)


def url_names() -> Iterator[tuple[str, str]]:
    """Every name for `reverse` with the path where it leads, as `include("anonusers.urls")` at the root gives it."""
    _django()
    yield from _named(import_module("anonusers.urls").urlpatterns, "anonusers")


def _named(patterns: list[Any], namespace: str) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        if hasattr(pattern, "url_patterns"):
            inner = pattern.namespace or pattern.app_name
            yield from _named(pattern.url_patterns, f"{namespace}:{inner}" if inner else namespace)
        elif pattern.name:
            yield f"{namespace}:{pattern.name}", f"/{pattern.pattern}"


def urls() -> str:
    return table(["name", "path"], [[f"`{name}`", f"`{path}`"] for name, path in url_names()])


GENERATORS = {"settings": settings, "events": events, "api": api, "errors": errors, "commands": commands, "urls": urls}
