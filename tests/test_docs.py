"""Pages that repeat the code say what the code says; the README's paths and commands exist."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rex.cli.commands import app

ROOT = Path(__file__).parent.parent
GENERATED = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_fresh(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == GENERATED[name], "run `make docs`"


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))])
def test_links_and_files_named_in_pages_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    linked = [(ROOT / page).parent / target for target in re.findall(r"\]\(([^)#:]+)\)", text)]
    named = [
        ROOT / path
        for path in re.findall(
            r"(?<![\w/])((?:batch|features|online|lake|learning|evaluation|rex|notebooks|airflow_dags)/[\w/]+\.py)\b",
            text,
        )
    ]
    missing = [str(path) for path in linked + named if not path.exists()]
    assert missing == []


def test_every_setting_has_a_meaning() -> None:
    assert not re.search(r"\|\s*\|$", GENERATED["settings.md"], re.MULTILINE)


COMMANDS = [
    "simulate",
    "import",
    "archive",
    "batch",
    "publish",
    "snapshots",
    "rollback",
    "serve",
    "feed",
    "demo",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert f"Example: rex {command}" in re.sub(r"\s+", " ", result.output)


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
