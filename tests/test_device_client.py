"""example/device_client.py, run as its reader would: a process of its own against a server of its own."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_serve import ROOT, Server, environment, free_port, serving, sql

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The demo, as `make run` serves it."""
    with serving(tmp_path_factory.mktemp("demo") / "var", CONFIG=ROOT / "example/guestbook.toml") as running:
        running.wait()
        yield running


def run(server: Server) -> str:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "example/device_client.py", url(server)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


TOLD = (
    rf"Signed up as   ({UUID})\n"
    r"Logged out:    not_signed_in\n"
    r"Logged in as   \1 \(the same\)\n"
    r"Sent again:    key_proof_refused\n"
)
"""What it prints; the sub has to come again."""


def guests(server: Server) -> list[str]:
    rows = sql(server.log.parent, "SELECT end_user_id FROM anonusers_devicekey ORDER BY created_at")
    return [str(sub) for (sub,) in rows]


def test_it_signs_up_logs_out_and_comes_back_as_the_same_guest(server: Server) -> None:
    before = guests(server)
    found = re.fullmatch(TOLD, run(server))
    assert found
    assert guests(server) == [*before, found[1].replace("-", "")]


def test_without_a_server_it_ends_in_one_line() -> None:
    ended = subprocess.run(
        [sys.executable, "example/device_client.py", f"http://127.0.0.1:{free_port()}"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"http://\S+ cannot be reached: .+ Start the demo with: make run\n", ended.stderr)


def test_it_uses_nothing_of_ours() -> None:
    assert not re.search(r"^(import|from) (anonusers|django|example)", (ROOT / "example/device_client.py").read_text())


def test_the_guide_to_device_keys_works_as_it_is_pasted(server: Server, tmp_path: Path) -> None:
    missing = [tool for tool in ("bash", "curl") if not shutil.which(tool)]
    if missing:  # `make test` asks for Python and make only; in CI this very skip is a failure
        pytest.skip(f"{missing[0]} is not installed, and the guide is written for it (CI has it and fails instead)")
    guide = (ROOT / "docs/http-api.md").read_text()
    section = guide.partition("## 9. Device keys")[2].partition("\n## ")[0]
    first, *steps = re.findall(r"```sh\n(.*?)```", guide.partition("\n## ")[0] + section, re.DOTALL)
    assert len(steps) == 6
    pasted = "\n".join(["set -eu", first, *steps]).replace("http://localhost:8000", url(server))
    pasted = pasted.replace(".venv/bin/python", sys.executable).replace("python3", sys.executable)
    ended = subprocess.run(
        ["bash", "-c", pasted],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    sub, again, kid, keys_and_code, web, moved, removed = ended.stdout.splitlines()[:7]
    assert re.fullmatch(UUID, sub)
    assert again == sub
    listed = rf'{{"keys":\[{{"kid":"{kid}","algorithm":"ES256","created_at":"[^"]+","last_used_at":"[^"]+"}}\]}}'
    assert re.fullmatch(listed + "[0-9A-Z]{4}(-[0-9A-Z]{4}){3}", keys_and_code)
    assert re.fullmatch(UUID, web)
    assert (moved, removed) == (web, "HTTP/1.1 204 No Content")
