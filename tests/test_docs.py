"""Pages that repeat the code say what the code says, and what any page names exists."""

from __future__ import annotations

import itertools
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from features.datasets import ALL
from rex.cli.commands import app
from tests.install.machine import ROOT, clean_environment, tracked

GENERATED = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
PAGES += sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
MAKEFILE = (ROOT / "Makefile").read_text()
DATASETS = {f"{dataset.layer}/{dataset.name}" for dataset in ALL.values()}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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


def mistakes(page: str, text: str) -> Iterator[str]:
    """What `text`, the page's, names that does not exist. What CHANGELOG.md lists as old does not have to."""
    if page == "CHANGELOG.md":
        text = re.sub(r"^\|[^|\n]*\|", "|", text, flags=re.MULTILINE)
    yield from wrong_links(page, text)
    yield from wrong_paths(text)
    for name in sorted(set(re.findall(r"\bREX_[A-Z0-9_]*", text))):
        if name not in settings() and not (name.endswith("_") and any(s.startswith(name) for s in settings())):
            yield f"setting {name}"
    shell = "\n".join(code for language, code in FENCED.findall(text) if language in ("sh", ""))
    for line in re.sub(r"\\\n", " ", shell).splitlines():
        yield from wrong_command(line, whole=True)
    for code in re.findall(r"`([^`\n]+)`", FENCED.sub("", text)):
        yield from wrong_command(code, whole=False)
        if re.fullmatch(r"--[a-z-]+( .*)?", code) and code.split()[0] not in options():
            yield f"option {code}"
        if re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", code) and code.removesuffix("_total") not in words():
            yield f"name {code}"


def wrong_links(page: str, text: str) -> Iterator[str]:
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    for target in targets:
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else None
        if file is not None and not file.exists():
            yield f"link {target}"
        elif anchor and anchor not in anchors(file.read_text() if file else text):
            yield f"anchor {target}"


def anchors(page: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def wrong_paths(text: str) -> Iterator[str]:
    folders = "|".join(sorted({re.escape(path.split("/")[0]) for path in tracked() if "/" in path}))
    for path, placeholder in re.findall(rf"(?<![\w/.\-])((?:{folders})/[\w./\-]*)(<\w+>)?", text):
        path = path[: path.rindex("/")] if placeholder else path.rstrip(".")  # the end of a sentence
        if path not in DATASETS and not (ROOT / path).exists():
            yield f"path {path}"


def wrong_command(line: str, whole: bool) -> Iterator[str]:
    """`whole`: with all its arguments, as it is typed; else as it is spoken of."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return  # no command: a brace or a quote of another language
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    match words:
        case ["rex", name, *rest] if not name.startswith("-"):
            yield from wrong_arguments(name, rest, whole)
        case ["make", target, *rest]:
            if not re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE):
                yield f"make {target}"
            for word in rest:
                name, _, _ = word.partition("=")
                if not re.search(rf"^{re.escape(name)} \?=", MAKEFILE, re.MULTILINE):
                    yield f"variable {name} of make"
        case ["pytest" | "python", *_] if "pytest" in words and "-k" in words:
            wanted = words[words.index("-k") + 1]
            paths = [word for word in words if word.startswith("tests")]
            if not any(
                path.startswith(tuple(paths)) and wanted in path + (ROOT / path).read_text() for path in code_of_tests()
            ):
                yield f"no test {wanted}"
        case ["python", "-m", module, *_] if module != "pytest":
            if not ((ROOT / module.replace(".", "/")).is_dir() or (ROOT / f"{module.replace('.', '/')}.py").exists()):
                yield f"python -m {module}"


def wrong_arguments(name: str, rest: list[str], whole: bool) -> Iterator[str]:
    if name not in COMMANDS:
        yield f"no command: rex {name}"
        return
    command = COMMANDS[name]
    taken = {option: o for o in command.params for option in (*o.opts, *o.secondary_opts) if option.startswith("-")}
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    given, words = 0, iter(rest)
    for word in words:
        option, has_value, _ = word.partition("=")
        if option.startswith("--") and option not in ("--help", "--"):
            if option not in taken:
                yield f"no option: rex {name} {option}"
            elif not taken[option].is_flag and not has_value and next(words, None) is None and whole:  # type: ignore[attr-defined]
                yield f"no value: rex {name} {option}"
        elif not option.startswith("-"):
            given += 1
    most = None if any(a.nargs == -1 for a in arguments) else len(arguments)
    least = 0 if "--list" in rest or not whole else sum(a.required for a in arguments)
    if given < least or (most is not None and given > most):
        yield f"{given} arguments: {shlex.join(['rex', name, *rest])}"


def code_of_tests() -> list[str]:
    return [path for path in tracked() if path.startswith("tests/") and path.endswith(".py")]


@cache
def words() -> set[str]:
    """Every name in the code, and of the columns and checks that it declares."""
    code = [
        path for path in tracked() if path.endswith((".py", ".lua", ".sql", ".toml")) and not path.startswith("tests/")
    ]
    declared = {one.name for dataset in ALL.values() for one in (*dataset.columns, *dataset.checks)}
    return declared | set(re.findall(r"[a-z0-9_]+", " ".join((ROOT / path).read_text() for path in code)))


@cache
def settings() -> set[str]:
    """Every environment variable of Rex, and those of its tests."""
    return set(re.findall(r"^\| `(REX_\w+)`", GENERATED["settings.md"], re.MULTILINE)) | set(
        re.findall(r"REX_TEST_[A-Z]+", MAKEFILE)
    )


@cache
def options() -> set[str]:
    taken = (p for command in COMMANDS.values() for p in command.params)
    return {"--help"} | {option for p in taken for option in (*p.opts, *p.secondary_opts)}


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
