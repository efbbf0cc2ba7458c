"""A user's mistake becomes one sentence on standard error and exit code 1; nothing half-written stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import rex, rex_here
from tests.lakes import ago, event, story, write_lake

pytestmark = pytest.mark.process

MISTAKES = {
    "no snapshot published": (["feed", "u1"], {}, "rex publish"),
    "redis unreachable": (["feed", "u1"], {"REX_REDIS_URL": "redis://127.0.0.1:1/0"}, "redis://127.0.0.1:1/0"),
    "redis url is none": (["snapshots"], {"REX_REDIS_URL": "postgres://x"}, "REX_REDIS_URL"),
    "password stays secret": (["feed", "u1"], {"REX_REDIS_URL": "redis://:hunter2@127.0.0.1:1/0"}, "***"),
    "no lake": (["batch", "--as-of", "2026-01-31"], {}, "lake"),
    "nothing to publish": (["publish", "--as-of", "2026-01-31"], {}, "rex batch"),
    "unknown version": (["rollback", "never-was"], {}, "never-was"),
    "no such data": (["import", "deskdrop", "target", "--files", "nowhere"], {}, "nowhere"),
    "no such SQL": (["import", "nowhere.sql", "target"], {}, "nowhere.sql"),
    "no service": (["feed", "u1", "--url", "http://127.0.0.1:1"], {}, "rex serve"),
    "setting out of bounds": (
        ["snapshots"],
        {"REX_SNAPSHOTS_KEPT": "0"},
        "REX_SNAPSHOTS_KEPT must be greater than or equal to 1, not '0'",
    ),
    "setting out of bounds in a group": (
        ["feed", "u1"],
        {"REX_ONLINE_POSTPROCESS_EXPLORE_SHARE": "7"},
        "REX_ONLINE_POSTPROCESS_EXPLORE_SHARE must be less than or equal to",
    ),
    "list that is not JSON": (
        ["feed", "u1"],
        {"REX_ONLINE_POSTPROCESS_PROMOTED_SLOTS": "1,2"},
        "REX_ONLINE_POSTPROCESS_PROMOTED_SLOTS must be a list written as JSON, such as [1, 2], not '1,2'",
    ),
    "secret that is no list": (
        ["serve"],
        {"REX_ONLINE_HTTP_CURSOR_KEYS": "quiet"},
        "REX_ONLINE_HTTP_CURSOR_KEYS must be a list written as JSON, such as [1, 2], not what it is.",
    ),
    "setting of an old name": (
        ["batch", "--as-of", "2026-01-31"],
        {"REX_BATCH_TRAINING_GRID_H": "24"},
        "REX_BATCH_TRAINING_GRID_H is not a setting; docs/settings.md",
    ),
    "no lake to train on": (
        ["train", "--as-of", "2026-01-31"],
        {"REX_BATCH_SPARK_MASTER": "no"},
        "There is no lake at",
    ),
    "no lake to evaluate": (["eval", str(Path(__file__).parent)], {}, "There is no lake at"),
    "no folder to rank into": (
        ["rank", "target", "--as-of", "2026-01-31", "--out", f"{__file__}/ranked.parquet"],
        {},
        f"because {__file__} is a file",
    ),
    "a folder to rank into": (
        ["rank", "target", "--as-of", "2026-01-31", "--out", str(Path(__file__).parent)],
        {},
        "is a directory; name the Parquet file to write",
    ),
    "weight of no outcome": (
        ["feed", "u1"],
        {"REX_ONLINE_RANK_VALUE_WEIGHTS": '{"sleep": 1}'},
        "REX_ONLINE_RANK_*: value_weights: weights are given for unknown outcomes ['sleep']",
    ),
    "world too small": (["simulate", "target", "--users", "1"], {}, "users"),
}


def test_the_command_is_a_program(tmp_path: Path) -> None:
    arguments, environment, told = MISTAKES["redis unreachable"]
    result = rex(*arguments, var=tmp_path / "var", **environment)
    assert (result.returncode, result.stdout) == (1, "")
    assert told in result.stderr


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(mistake: str, tmp_path: Path) -> None:
    arguments, environment, told = MISTAKES[mistake]
    arguments = [str(tmp_path / "target") if argument == "target" else argument for argument in arguments]
    result = rex_here(*arguments, var=tmp_path / "var", **environment)
    assert result.returncode == 1, result.stderr
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert "hunter2" not in result.stderr
    assert not (tmp_path / "target").exists()


def test_a_lake_is_checked_alone_and_before_a_batch(tmp_path: Path) -> None:
    lake = tmp_path / "it's my [lake] {1}*?"
    write_lake(lake, stories=[story("s")], events=[event("u", "read", "s", ago(1)), event("NULL", "read", "s", ago(1))])
    told = "Dataset events: 1 of 2 rows are refused, more than 5%"
    checked = rex_here("check", str(lake), var=tmp_path)
    assert checked.returncode == 1
    assert told in checked.stderr
    assert "events: 1 of 2 rows: null_as_user_id" in checked.stdout
    assert "part-00000.parquet, row 2: `user_id=NULL" in checked.stdout
    one_job = ["batch", "--lake", str(lake), "--as-of", "2026-01-31T12:00:00", "--job", "valid_stories"]
    batch = rex(*one_job, var=tmp_path, REX_BATCH_SPARK_MASTER="no")
    assert "events: 1 of 2 rows: null_as_user_id" in batch.stdout, "printed before anything of Spark's is started"
    write_lake(lake, events=[event("u", "read", "s", ago(1))])
    checked = rex_here("check", str(lake), var=tmp_path)
    assert (checked.returncode, "null_as" in checked.stdout) == (0, False)


def test_limits_of_options_are_checked(tmp_path: Path) -> None:
    result = rex_here("feed", "u1", "--limit", "0", var=tmp_path)
    assert result.returncode == 2
    assert "limit" in result.stderr


@pytest.mark.parametrize("command", [["serve"], ["demo", "--no-serve"]])
def test_a_port_beyond_the_last_is_a_usage_error(command: list[str], tmp_path: Path) -> None:
    result = rex_here(*command, "--port", "99999", var=tmp_path)
    assert result.returncode == 2
    assert "65535" in result.stderr


def test_a_date_in_another_form_is_told_what_one_looks_like(tmp_path: Path) -> None:
    result = rex_here("batch", "--as-of", "31.01.2026", var=tmp_path)
    assert result.returncode == 2
    assert "2026-01-31T18:00:00" in result.stderr


def test_where_nothing_is_listed_it_is_said(tmp_path: Path) -> None:
    assert "No snapshot has been published" in rex_here("snapshots", var=tmp_path).stdout
    assert "There are no dead letters." in rex_here("dead-letters", var=tmp_path).stdout


def test_simulate_says_what_it_wrote(tmp_path: Path) -> None:
    arguments = ["simulate", str(tmp_path / "lake"), "--users", "50", "--stories", "60", "--events", "500"]
    result = rex_here(*arguments, var=tmp_path)
    assert result.stdout.startswith("Wrote 50 users, 60 stories, "), result.stderr


def test_simulate_refuses_to_write_over_something(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    result = rex_here(
        "simulate", str(tmp_path / "mine"), "--users", "50", "--stories", "60", "--events", "500", var=tmp_path
    )
    assert result.returncode == 1
    assert "not empty" in result.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_demo_refuses_to_empty_a_directory_that_no_demo_wrote(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    result = rex_here("demo", "--var", str(tmp_path), "--no-serve", var=tmp_path / "var")
    assert result.returncode == 1
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
