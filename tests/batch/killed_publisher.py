"""A publisher that kills itself (SIGKILL) after the n-th time it has passed a step. Run as a process of its own.

Arguments: Redis URL, lake, as_of, snapshots kept, lease TTL in seconds, step, n.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import datetime
from pathlib import Path

import redis

from batch.publish import Step, publish
from features.keys import Keys


def main(url: str, lake: str, as_of: str, kept: str, lease_ttl_s: str, fatal: str, times: str) -> None:
    left = int(times)

    def die_at(step: Step) -> None:
        nonlocal left
        left -= step == fatal
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    moment = datetime.fromisoformat(as_of)
    with redis.Redis.from_url(url) as client:
        publish(
            Path(lake), moment, client, Keys(), now=moment, kept=int(kept), lease_ttl_s=float(lease_ttl_s), step=die_at
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
