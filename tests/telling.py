"""Runs what a page of the docs tells its reader to do, in a project of its own: files are written, commands run.

A fenced block is one of two things. With `:caption: shop/views.py` it is that file, with
`:caption: mysite/settings.py, at the end` it is added to it. A block in the language `console` is commands, each after
`$ `, with what they print; `…` in it stands for anything. There is no third kind: what a page shows is used.
"""

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from urllib.error import URLError

from tests.test_serve import free_port

FENCE = re.compile(
    r"^(```+)(?:\{code-block\} ([\w+-]*)|\{([\w:-]+)\}[^\n]*|([\w+-]*))\n((?::\w+:[^\n]*\n)*)\n?(.*?)^\1$",
    re.MULTILINE | re.DOTALL,
)
AT_THE_END = ", at the end"
PORT = "8000"  # what pages say; a free one is used instead


@dataclass(frozen=True)
class Block:
    language: str
    caption: str
    text: str
    line: int

    @property
    def commands(self) -> Iterator[tuple[str, str]]:
        """Every command with what the page says that it prints."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for fence in FENCE.finditer(text):
        _, of_block, directive, plain, options, body = fence.groups()
        caption = re.search(r"^:caption: (.+)$", options, re.MULTILINE)
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(of_block or directive or plain, caption[1] if caption else "", body, line))
    assert text.count("\n```") == 2 * len(found), f"{page.name}: a block that nobody sees"
    return found


class Reader:
    """Does what a page says, block by block, in a folder of their own. Ends the server that the page starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server: subprocess.Popen[bytes] | None = None
        self.port = str(free_port())

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *error: object) -> None:
        if self.server is not None:
            self.server.terminate()
            self.server.wait(timeout=10)

    def follow(self, page: Path, *, shown: Collection[str] = ()) -> None:
        """Use every block, but those in a language that is only `shown`."""
        for block in blocks(page):
            if block.caption:
                self._write(block)
            elif block.language == "console":
                for command, output in block.commands:
                    self.run(command, output, at=f"{page.name}:{block.line}")
            else:
                assert block.language in shown, f"{page.name}:{block.line}: neither a file nor commands"

    def _write(self, block: Block) -> None:
        name = block.caption.removesuffix(AT_THE_END)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if block.caption.endswith(AT_THE_END) else ""
        path.write_text(f"{before}\n{block.text}" if before else block.text)
        if path.suffix == ".py":
            compile(path.read_text(), name, "exec")

    def run(self, command: str, output: str = "", *, at: str = "") -> None:
        if command.startswith("python -m pip install "):
            _demand_installed(command.split()[-1])
            return
        words = [{"python": sys.executable, "django-admin": _admin()}.get(word, word) for word in command.split()]
        if "runserver" in words:
            self._serve([*words, "--noreload", self.port])
            return
        ran = subprocess.run(
            words, cwd=self.folder, env=_environment(), capture_output=True, text=True, timeout=120, check=False
        )
        told = f"{at}: $ {command}\n{ran.stdout}{ran.stderr}"
        assert ran.returncode == 0, told
        if output.strip():
            wanted = ".*".join(re.escape(part) for part in output.strip().split("…"))
            assert re.fullmatch(wanted, (ran.stdout + ran.stderr).strip(), re.DOTALL), (
                f"{told}\nThe page says\n{output}"
            )

    def _serve(self, words: list[str]) -> None:
        log = (self.folder / "server.log").open("wb")
        self.server = subprocess.Popen(words, cwd=self.folder, env=_environment(), stdout=log, stderr=log)
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{self.origin}/no-such-page", timeout=5)
            except urllib.error.HTTPError:
                return
            except (URLError, OSError):
                time.sleep(0.1)
        raise AssertionError((self.folder / "server.log").read_text())


def _demand_installed(requirement: str) -> None:
    """What the page installs is what is tested here; to install it again would only ask the network."""
    name, _, extra = requirement.rstrip("]").partition("[")
    provided = distribution(name).metadata.get_all("Provides-Extra") or []
    assert not extra or extra in provided, requirement


def _admin() -> str:
    return str(Path(sys.executable).with_name("django-admin"))


def _environment() -> dict[str, str]:
    """A machine that knows nothing of the tests' settings."""
    unwanted = ("DJANGO_SETTINGS_MODULE", "DATABASE_URL", "PYTHONPATH", "PYTEST_CURRENT_TEST")
    return {name: value for name, value in os.environ.items() if name not in unwanted} | {"PYTHONUNBUFFERED": "1"}
