"""The machine's locale changes nothing of what Spark computes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

SESSION = """
from datetime import datetime
from batch.session import start_session
from batch.settings import BatchSettings
spark = start_session(BatchSettings(driver_memory="1g"))
word = spark.createDataFrame([("IZMIR TITLE \\u0130I",)], "title string").selectExpr("lower(title)", "upper('title i')").first()
java = spark._jvm.java.util.Locale.getDefault().toString(), spark._jvm.java.util.TimeZone.getDefault().getID()
print(*word, *java, spark.conf.get("spark.executor.extraJavaOptions"), sep="|")
spark.stop()
"""


@pytest.mark.nightly(part="batch")
def test_titles_are_lowered_alike_under_a_turkish_locale(tmp_path: Path) -> None:
    turkish = {"LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu", "REX_VAR": str(tmp_path)}
    turkish["JAVA_TOOL_OPTIONS"] = (
        "-Duser.language=tr -Duser.country=TR"  # as the environment has it where the locale is installed
    )
    done = subprocess.run(
        [sys.executable, "-c", SESSION],
        capture_output=True,
        text=True,
        env=os.environ | turkish,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    lowered, raised, locale, zone, executors = done.stdout.strip().split("|")
    assert (lowered, raised) == ("IZMIR TITLE \u0130I".lower(), "TITLE I")
    assert (locale, zone) == ("en", "UTC")
    assert "-Duser.language=en" in executors
