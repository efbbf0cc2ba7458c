"""Pages that repeat the code say what the code says, and what any page names exists."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rex.cli.commands import app
from tests.install.machine import ROOT, clean_environment, tracked
from tests.page_names import COMMANDS, FENCED, GENERATED, mistakes, wrong_settings

PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
PAGES += sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_fresh(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == GENERATED[name], "run `make docs`"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page: str) -> None:
    assert list(mistakes(page, (ROOT / page).read_text())) == []


WRONG = {
    "path": ("see `online/no_such_file.py`", "online/no_such_file.py"),
    "path of a test": ("`tests/online/test_none.py` shows it", "tests/online/test_none.py"),
    "folder of a placeholder": ("write `online/nowhere/<name>.py`", "online/nowhere"),
    "test": ("`pytest tests/online -k no_such_test`", "no_such_test"),
    "command": ("run `rex perform`", "rex perform"),
    "option": ("run `rex batch --people 3`", "--people"),
    "option alone": ("with `--people`", "--people"),
    "argument that is missing": ("```sh\nrex rollback\n```\n", "rex rollback"),
    "argument too many": ("```sh\nrex snapshots all   # no\n```\n", "rex snapshots all"),
    "target": ("run `make coffee`", "make coffee"),
    "variable of make": ("run `make demo SERV=0`", "SERV"),
    "module": ("run `python -m benchmark`", "python -m benchmark"),
    "setting": ("set `REX_ONLINE_MAX_AGE_D`", "REX_ONLINE_MAX_AGE_D"),
    "group of settings": ("those that begin with `REX_BATH_`", "REX_BATH_"),
    "link": ("[x](docs/none.md)", "docs/none.md"),
    "anchor": ("[x](docs/api.md#no-such-heading)", "docs/api.md#no-such-heading"),
    "anchor on the page": ("# Title\n[x](#titel)", "#titel"),
    "picture": ('<img src="docs/none.svg">', "docs/none.svg"),
    "name": ("the column `no_such_column`", "no_such_column"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_mistake_is_noticed(kind: str) -> None:
    text, wrong = WRONG[kind]
    assert any(wrong in mistake for mistake in mistakes("README.md", text))


def test_every_dependency_has_one_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    cells = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)[1:]
    listed = [name for cell in cells for name in re.sub(r"\(.*\)", "", cell).replace(" ", "").split(",")]
    unlisted = {"pandas"}  # told under the table: it is pinned for another package's sake
    assert sorted(listed) == sorted({re.match(r"[\w-]+", one)[0] for one in wanted} - unlisted)  # type: ignore[index]


def test_the_rule_that_the_readme_shows_is_the_rule() -> None:
    (shown,) = [code for language, code in FENCED.findall((ROOT / "README.md").read_text()) if language == "python"]
    assert (ROOT / "online" / "rules" / "own.py").read_text().endswith(shown)


def test_the_settings_that_the_code_names_exist() -> None:
    code = [path for path in tracked() if path.endswith(".py") and not path.startswith("tests/")]
    assert {path: wrong for path in code if (wrong := list(wrong_settings((ROOT / path).read_text())))} == {}


def test_every_setting_has_a_meaning() -> None:
    assert not re.search(r"\|\s*\|$", GENERATED["settings.md"], re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    example = re.search(rf"Example: (rex {command}.*)", re.sub(r"[\s│]+", " ", result.output))
    assert example, result.output


def test_no_page_names_a_machine_path_or_a_registry_host() -> None:
    for path in [ROOT / "requirements.lock", ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        assert not re.search(r"https?://\S+/simple", path.read_text()), path


def sql_of(page: str) -> str:
    """The first SQL that a page shows."""
    return re.findall(r"```sql\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[0]


@pytest.mark.parametrize("page", ["README.md", "docs/your-data.md"])
def test_the_sql_that_a_page_begins_with_runs(tmp_path: Path, page: str) -> None:
    (tmp_path / "my-site.sql").write_text(sql_of(page))
    (tmp_path / "posts.csv").write_text("id,title,date,tags\np1,Hello,2026-01-31,art|music\n")
    (tmp_path / "clicks.csv").write_text("reader,post,ts,action\nu1,p1,1769882400,view\nu2,p1,1769882401,like\n")
    result = CliRunner().invoke(app, ["import", str(tmp_path / "my-site.sql"), str(tmp_path / "lake")])
    assert result.exit_code == 0, result.output
    events = pq.read_table(tmp_path / "lake" / "raw" / "events").to_pylist()
    assert [event["user_id"] for event in events] == ["u1", "u2"]


def test_the_help_of_import_shows_sql() -> None:
    output = re.sub(r"\s+", " ", CliRunner().invoke(app, ["import", "--help"]).output)
    assert (
        "CREATE VIEW events AS SELECT reader AS user_id, post AS story_id, 'read' AS type, unix_s(ts) AS occurred_at"
        in output
    )


@pytest.mark.nightly(part="demo")
@pytest.mark.process
@pytest.mark.timeout(1800)
def test_the_steps_of_the_readme_run(tmp_path: Path) -> None:
    steps, calls = [code for language, code in FENCED.findall((ROOT / "README.md").read_text()) if language == "sh"][
        1:3
    ]
    first, *rest = steps.splitlines()
    assert first.startswith(". .venv/bin/activate")
    serve = rest.pop()
    assert serve.startswith("rex serve ")
    [train] = (number for number, line in enumerate(rest) if line.startswith("rex train "))
    assert "may be refused: then it exits with 1" in rest[train]
    rest[train] = f"{rest[train].partition('#')[0]} || [ $? = 1 ]"
    script = "\n".join(
        [
            *("set -euo pipefail", *rest, "rex serve > served.log 2>&1 & server=$!", "trap 'kill $server' EXIT"),
            "until curl -sf http://127.0.0.1:8000/readyz > /dev/null; do sleep 0.2; kill -0 $server; done",
            calls.replace("curl ", "curl --fail-with-body -sS "),
        ]
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=clean_environment(PATH=path, HOME=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    assert '"story_id":"hello"' in done.stdout
