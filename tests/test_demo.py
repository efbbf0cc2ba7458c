"""A demo beside a live site: whatever the environment says of the site's Redis, the site stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from features.keys import Keys
from features.settings import Settings
from rex.demo import DemoConfig, child_environment, empty_prefix, settings_for
from rex.local.redis_server import Server
from tests.fixtures_redis import redis_client, redis_server

pytestmark = pytest.mark.process

__all__ = ["redis_client", "redis_server"]

PROJECT = Path(__file__).parents[1]
SITE = "redis://site.invalid:6379/0"


def config(var: Path, redis_url: str = "") -> DemoConfig:
    return DemoConfig(None, var, False, 60, 200, 3000, 8123, redis_url)


@pytest.mark.parametrize("told", ["", "redis://told.invalid/0"], ids=["own Redis", "Redis that it was told"])
def test_the_site_of_the_environment_is_neither_the_demo_s_nor_its_services_(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"REDIS_URL": SITE, "LAKE": "/site", "VAR": "/site", "ONLINE_MODELS_SERVICE_URL": SITE}.items():
        monkeypatch.setenv(f"REX_{name}", value)
    settings = settings_for(config(tmp_path, told))
    assert (settings.redis_url, settings.lake) == (told, tmp_path / "lake")
    assert settings.redis_prefix == ("rex-demo:" if told else "rex:")
    for name, value in child_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings, "the services would be of another site than the demo"
    assert os.environ["REX_ONLINE_MODELS_SERVICE_URL"] == ""


def test_only_what_an_earlier_demo_left_is_emptied(redis_client: redis.Redis) -> None:
    redis_client.mset({Keys().current(): "v", Keys("rex-demo:").current(): "v", "rex-demo": "of somebody"})
    empty_prefix(redis_client)
    assert set(redis_client.keys("*")) == {Keys().current().encode(), b"rex-demo"}


@pytest.mark.nightly(part="demo")
def test_a_demo_leaves_the_site_s_redis_alone_and_goes_under_its_own_prefix_where_it_is_told_to(
    redis_server: Server, redis_client: redis.Redis, tmp_path: Path
) -> None:
    redis_client.set(Keys().current(), "the site's")
    environment = os.environ | {"REX_REDIS_URL": redis_server.url}
    small = ["--no-serve", "--users", "60", "--stories", "200", "--events", "3000", "--port", "8123"]
    for more in ([], ["--redis", redis_server.url]):
        command = [sys.executable, "-m", "rex", "demo", "--var", str(tmp_path / "demo"), *small, *more]
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-2000:]
        keys = {key.decode() for key in redis_client.keys("*")}
        own = {key for key in keys if key.startswith("rex-demo:")}
        assert keys - own == {Keys().current()}
        assert bool(own) == bool(more)
    assert redis_client.get(Keys().current()) == b"the site's"
