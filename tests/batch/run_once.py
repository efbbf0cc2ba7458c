"""A batch run in a process of its own: `python run_once.py LAKE NOW AS_OF...`."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from batch.run import run
from tests.batch.small_world import SETTINGS

if __name__ == "__main__":
    lake, now, *as_ofs = sys.argv[1:]
    run(Path(lake), [datetime.fromisoformat(a) for a in as_ofs], now=datetime.fromisoformat(now), settings=SETTINGS)
