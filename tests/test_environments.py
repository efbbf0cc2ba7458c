"""Environments in which users start `rex`: it works, or one sentence says what to do; a traceback is never shown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

import rex.cli.commands as cli
from features.errors import BadInput, Unavailable
from features.keys import Keys
from online.ingest.events import EventIntake
from online.service_settings import OnlineSettings
from rex.local.faults import refusal
from rex.local.redis_server import Server
from tests.fixtures_redis import redis_client, redis_server
from tests.lakes import NOON, ago, event, story, write_lake

pytestmark = pytest.mark.process

__all__ = ["redis_client", "redis_server"]

REX = [sys.executable, "-m", "rex"]
BATCH = [*REX, "batch", "--as-of", f"{NOON:%Y-%m-%dT%H:%M:%S}"]
SIMULATE = [*REX, "simulate", "--users", "50", "--stories", "200", "--events", "20000", "--ends-at", "2026-01-31"]
NO_WORDS = ("Traceback", 'File "', "py4j", "java.")


def run(command: Sequence[str], var: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "REX_VAR": str(var), "COLUMNS": "200", **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)


def assert_one_sentence(done: subprocess.CompletedProcess[str], *words: str) -> None:
    said = done.stderr
    assert done.returncode == 1, (done.returncode, said)
    assert all(word in said for word in words), said
    assert not any(word in said for word in NO_WORDS), said
    assert "defect" not in said, said
    assert len([line for line in said.splitlines() if line.startswith("rex: ")]) == 1, said


def mounted(directory: Path, options: str, command: Sequence[str]) -> list[str]:
    """`command` where `directory` is a small file system of its own; skips where none can be mounted."""
    unshare = ["unshare", "--mount"]
    if os.geteuid() != 0 or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root, with the right to mount")
    directory.mkdir(parents=True, exist_ok=True)
    script = 'mount -t tmpfs -o "$0" tmpfs "$1" && shift && exec "$@"'
    return [*unshare, "sh", "-c", script, options, str(directory), *command]


def small_lake(tmp_path: Path) -> Path:
    return write_lake(tmp_path / "lake", stories=[story("s")], events=[event("u", "read", "s", ago(hours=1))])


class TestWithoutSpark:
    def test_an_output_that_knows_ascii_only_gets_question_marks(self, tmp_path: Path) -> None:
        done = run([*REX, "train", "--help"], tmp_path, PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Example: rex train" in done.stdout

    def test_without_docstrings_there_is_no_help(self, tmp_path: Path) -> None:
        assert_one_sentence(run([*REX, "--help"], tmp_path, PYTHONOPTIMIZE="2"), "unset PYTHONOPTIMIZE")

    def test_a_database_of_redis_has_a_number(self, tmp_path: Path) -> None:
        done = run([*REX, "snapshots"], tmp_path, REX_REDIS_URL="redis://127.0.0.1:6379/abc")
        assert_one_sentence(done, "/abc", "redis://host:port/0")

    def test_a_protected_redis_asks_for_its_password(
        self, redis_server: Server, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        redis_client.config_set("requirepass", "s3cret")
        try:
            for url in (redis_server.url, redis_server.url.replace("unix://", "unix://user:wr0ng@")):
                done = run([*REX, "snapshots"], tmp_path, REX_REDIS_URL=url)
                assert_one_sentence(done, "password", "REX_REDIS_URL: redis://user:password@host")
                assert "wr0ng" not in done.stderr
        finally:
            redis_client.config_set("requirepass", "")

    def test_a_read_only_lake(self, tmp_path: Path) -> None:
        command = mounted(tmp_path / "fixed", "ro", [*SIMULATE, str(tmp_path / "fixed" / "lake")])
        assert_one_sentence(run(command, tmp_path / "var"), "Access is denied", str(tmp_path / "fixed"), "REX_LAKE")

    def test_a_read_only_var(self, tmp_path: Path) -> None:
        command = mounted(tmp_path / "var", "ro", [*REX, "snapshots"])
        assert_one_sentence(run(command, tmp_path / "var"), "Access is denied", "REX_VAR")

    def test_a_disk_that_is_full_while_a_lake_is_simulated(self, tmp_path: Path) -> None:
        command = mounted(tmp_path / "small", "size=200k", [*SIMULATE, str(tmp_path / "small" / "lake")])
        assert_one_sentence(run(command, tmp_path / "var"), "disk is full", "make room")

    def test_a_disk_that_is_full_while_events_are_archived(
        self, redis_server: Server, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        now = datetime.now(UTC)
        events = [
            {"event_id": f"e{i}", "user_id": f"u{i}", "story_id": "s" * 100, "type": "read", "occurred_at": str(now - timedelta(seconds=i))}
            for i in range(500)
        ]  # fmt: skip
        assert EventIntake(redis_client, Keys("rex:"), OnlineSettings()).accept(events, now).accepted == 500
        command = mounted(tmp_path / "small", "size=8k", [*REX, "archive", "--lake", str(tmp_path / "small" / "lake")])
        done = run(command, tmp_path / "var", REX_REDIS_URL=redis_server.url)
        assert_one_sentence(done, "disk is full", "make room")
        whole = run(
            [*REX, "archive", "--lake", str(tmp_path / "lake")], tmp_path / "var", REX_REDIS_URL=redis_server.url
        )
        assert "moved 500 entries" in whole.stdout, "nothing was lost"

    def test_few_open_files(self, tmp_path: Path) -> None:
        """The soft limit is raised where the hard one allows it."""
        done = run(["sh", "-c", 'ulimit -S -n 16; exec "$@"', "sh", *REX, "snapshots"], tmp_path)
        assert done.returncode == 0, done.stderr
        done = run(["sh", "-c", 'ulimit -n 16; exec "$@"', "sh", *REX, "snapshots"], tmp_path)
        assert_one_sentence(done, "open file limit")  # in the words of the bundled server, which needs most of them


class TestWords:
    def test_an_error_of_a_pipeline_is_told_without_the_bytes_it_sent(self, redis_client: redis.Redis) -> None:
        redis_client.set("rex:text", "no hash")
        pipe = redis_client.pipeline().hset("rex:text", b"\x00\xff", b"\x01" * 1000)
        with pytest.raises(redis.ResponseError) as caught:
            pipe.execute()
        told = str(refusal(caught.value))
        assert "WRONGTYPE" in told
        assert "\\x" not in told, told
        assert len(told) < 300

    def test_an_error_that_was_only_being_handled_is_not_the_reason(self) -> None:
        defect = KeyError("a defect")
        defect.__context__ = PermissionError(13, "denied", "/somewhere/else")
        assert refusal(defect) is None
        defect.__cause__ = defect.__context__
        assert "Access is denied: /somewhere/else" in str(refusal(defect))

    def test_what_nobody_foresaw_is_called_a_defect_and_its_traceback_is_kept(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setattr(cli, "app", lambda: 1 / 0)
        with pytest.raises(SystemExit, match="1"):
            cli.main()
        said = capsys.readouterr().err
        assert "defect in Rex (ZeroDivisionError: division by zero)" in said
        assert "Traceback" not in said
        (kept,) = tmp_path.glob("rex-defect-*.txt")
        assert "Traceback" in kept.read_text()

    def test_of_two_faults_the_specific_one_is_told(self) -> None:
        assert "password" in str(refusal(redis.AuthenticationError("invalid username-password pair")))
        assert "memory" in str(refusal(redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")))
        assert isinstance(refusal(redis.ConnectionError("refused")), Unavailable), "worth a retry"
        assert isinstance(refusal(redis.AuthenticationError("invalid password")), BadInput), "no retry helps"


@pytest.mark.nightly(part="environments")
class TestSpark:
    """Each starts a Spark of its own."""

    def test_a_user_without_a_name(self, tmp_path: Path) -> None:
        """As containers run whose platform draws a user id."""
        nameless = ["unshare", "--user", "--map-user=12345"]
        if subprocess.run([*nameless, "true"], capture_output=True).returncode:
            pytest.skip("this system lets nobody make a user namespace")
        done = run([*nameless, *BATCH, "--lake", str(small_lake(tmp_path))], tmp_path / "var", HOME="/nonexistent")
        assert done.returncode == 0, done.stderr

    def test_settings_of_another_spark_do_not_count(self, tmp_path: Path) -> None:
        """Neither its home nor its arguments, and the lake stays a directory whatever Hadoop calls its default."""
        hadoop = tmp_path / "hadoop"
        hadoop.mkdir()
        (hadoop / "core-site.xml").write_text(
            "<configuration><property><name>fs.defaultFS</name><value>hdfs://nowhere:8020</value></property></configuration>"
        )
        others = {
            "SPARK_HOME": "/opt/spark-2.4",
            "PYSPARK_SUBMIT_ARGS": "--master yarn nonsense",
            "HADOOP_CONF_DIR": str(hadoop),
        }
        done = run([*BATCH, "--lake", str(small_lake(tmp_path))], tmp_path / "var", **others)
        assert done.returncode == 0, done.stderr

    def test_an_address_of_another_machine(self, tmp_path: Path) -> None:
        done = run([*BATCH, "--lake", str(small_lake(tmp_path))], tmp_path / "var", SPARK_LOCAL_IP="203.0.113.1")
        assert_one_sentence(done, "SPARK_LOCAL_IP is not an address of this machine", "127.0.0.1")

    @pytest.mark.parametrize(("options", "words"), [("size=64k", "full"), ("ro", "Access")])
    def test_a_lake_that_takes_no_more(self, tmp_path: Path, options: str, words: str) -> None:
        lake = small_lake(tmp_path)
        command = mounted(lake / "features", options, [*BATCH, "--lake", str(lake)])
        assert_one_sentence(run(command, tmp_path / "var"), words)

    def test_few_open_files(self, tmp_path: Path) -> None:
        command = ["sh", "-c", 'ulimit -n 120; exec "$@"', "sh", *BATCH, "--lake", str(small_lake(tmp_path))]
        assert_one_sentence(run(command, tmp_path / "var"), "open", "ulimit -n 4096")

    @pytest.mark.parametrize(
        "sign", ["var/spark/spark.log", "lake/features/valid_stories", "lake/features/story_counters"]
    )
    def test_an_interrupt_ends_it_without_a_word(self, tmp_path: Path, sign: str) -> None:
        """While Java starts, and within jobs."""
        command = [*BATCH, "--lake", str(small_lake(tmp_path))]
        environment = {**os.environ, "REX_VAR": str(tmp_path / "var")}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as rex:
            while not (tmp_path / sign).exists():
                assert rex.poll() is None, "it ended before it could be interrupted"
                time.sleep(0.02)
            time.sleep(0.5)
            os.killpg(rex.pid, signal.SIGINT)  # as a terminal does
            _, said = rex.communicate()
        assert rex.returncode == 130, (rex.returncode, said)
        assert not any(word in said for word in (*NO_WORDS, "Error", "Exception", "rex:")), said
