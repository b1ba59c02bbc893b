import io

import pytest
from django.core.management import CommandError, call_command, execute_from_command_line
from django.db import DatabaseError

from anonusers import project_file
from anonusers.models import Application, Project, ProjectDomain

PROJECT = (
    '[project]\nid = "guestbook"\nname = "Gäste"\ndomains = ["localhost"]\n'
    '[[applications]]\nclient_id = "web"\ntype = "spa"\n'
)
database = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    monkeypatch.setattr(project_file, "create_keys", lambda project: None)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "guestbook.toml"
    path.write_text(PROJECT, "utf-8")
    return path


def run(*arguments):
    out = io.StringIO()
    call_command("anonusers_config", *map(str, arguments), stdout=out)
    return out.getvalue()


def rows():
    return [list(table.objects.order_by("pk").values()) for table in (Project, ProjectDomain, Application)]


class TestOnADatabase:
    pytestmark = database

    def test_apply_creates_the_project_and_says_what_it_did(self, path):
        lines = run("apply", path).splitlines()

        assert Project.objects.get().name == "Gäste"
        assert lines[:3] == [
            '+ project.id = "guestbook"',
            '+ project.name = "Gäste"',
            '+ project.domains = ["localhost"]',
        ]
        assert '+ applications["web"]' in lines
        assert '    type = "spa"' in lines

    def test_apply_again_says_that_nothing_changes(self, path):
        run("apply", path)
        before = rows()

        assert run("apply", path) == "No changes.\n"
        assert rows() == before

    def test_apply_prints_one_line_per_change(self, path):
        run("apply", path)
        path.write_text('[project]\nid = "guestbook"\nname = "Gäste"\n[project.session]\nlifetime = 60\n', "utf-8")

        assert run("apply", path).splitlines() == [
            '~ project.domains: ["localhost"] -> []',
            "~ project.session.lifetime: 31449600 -> 60",
            '- applications["web"] (and its sessions: 0)',
        ]
        assert Application.objects.count() == 0

    def test_a_dry_run_prints_the_same_and_changes_nothing(self, path):
        planned = run("apply", path, "--dry-run")
        assert rows() == [[], [], []]

        assert planned == run("apply", path) + "Dry run: nothing was changed.\n"
        assert run("apply", path, "--dry-run") == "No changes.\nDry run: nothing was changed.\n"

    def test_a_dry_run_refuses_what_apply_refuses(self, path):
        other = Project.objects.create(slug="other", name="Other")
        ProjectDomain.objects.create(project=other, domain="localhost")
        before = rows()

        for options in ([], ["--dry-run"]):
            with pytest.raises(CommandError, match=r'project\.domains: "localhost" belongs to the project "other"'):
                run("apply", path, *options)
        assert rows() == before

    def test_export_writes_a_file_that_apply_finds_unchanged(self, path):
        run("apply", path)
        text = run("export", "guestbook")
        path.write_text(text, "utf-8")

        assert text == project_file.export_project("guestbook")
        assert run("apply", path) == "No changes.\n"
        assert run("export", "guestbook") == text

    def test_export_of_an_unknown_project_is_refused(self):
        with pytest.raises(CommandError, match='There is no project with the id "nobody"'):
            run("export", "nobody")

    def test_a_bad_file_is_refused_and_nothing_changes(self, path):
        run("apply", path)
        before = rows()
        path.write_text(PROJECT + "access_token_lifetime = 1\n", "utf-8")

        with pytest.raises(CommandError) as refused:
            run("apply", path)

        assert str(refused.value) == (
            f'{path}: applications[0].access_token_lifetime (client_id "web"): '
            "Ensure this value is greater than or equal to 300."
        )
        assert rows() == before


def test_an_error_is_one_line_and_exit_status_1(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        execute_from_command_line(["manage.py", "anonusers_config", "apply", str(tmp_path / "missing.toml")])

    out, err = capsys.readouterr()
    assert exit_.value.code == 1
    assert err == f"CommandError: {tmp_path / 'missing.toml'}: The file cannot be read: No such file or directory.\n"
    assert out == ""


def test_a_database_that_is_away_is_an_error_without_traceback(path, monkeypatch):
    def away(slug):
        raise DatabaseError("no such\n  table")

    monkeypatch.setattr("anonusers.management.commands.anonusers_config.export_project", away)

    with pytest.raises(
        CommandError, match=r"^The database cannot be used\. Is it running, and migrated\? no such table$"
    ):
        run("export", "guestbook")


@pytest.mark.parametrize("arguments", [[], ["apply"], ["export"], ["drop", "guestbook"]])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(CommandError):
        run(*arguments)
