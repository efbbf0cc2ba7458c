"""An archiver that kills itself (SIGKILL) after the n-th time it has passed a step. Run as a process of its own.

Arguments: Redis URL, lake, step (or `never`: archive over and over until killed from outside), n, `durable` or `hasty`.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import redis

from features.keys import Keys
from online.streams.archiver import Step, archive


def main(url: str, lake: str, fatal: str, times: str, manner: str) -> None:
    left = int(times)

    def die_at(step: Step) -> None:
        nonlocal left
        left -= step == fatal
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    with redis.Redis.from_url(url) as client:
        print("ready", flush=True)
        while True:
            archive(client, Keys(), Path(lake), step=die_at, durable_first=manner == "durable")
            if fatal != "never":
                break


if __name__ == "__main__":
    main(*sys.argv[1:])
