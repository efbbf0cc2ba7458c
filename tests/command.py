"""`rex` as it is typed: in a process of its own, or by the same function in this one, which takes no second to start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

from rex.cli.commands import main


def _environment(var: Path, given: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "REX_VAR": str(var), "REX_LAKE": str(var / "lake"), "COLUMNS": "200", **given}


def rex(*arguments: str, var: Path, timeout_s: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rex", *arguments],
        env=_environment(var, environment),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def rex_here(*arguments: str, var: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """For what neither starts Spark nor waits for a signal."""
    said, complained, handler = StringIO(), StringIO(), signal.getsignal(signal.SIGINT)
    code: object = 0
    with (
        patch.dict(os.environ, _environment(var, environment)),
        patch.object(sys, "argv", ["rex", *arguments]),
        redirect_stdout(said),
        redirect_stderr(complained),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            signal.signal(signal.SIGINT, handler)
    assert isinstance(code, int), code
    return subprocess.CompletedProcess(arguments, code, said.getvalue(), complained.getvalue())
