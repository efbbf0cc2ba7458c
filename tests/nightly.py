"""`make nightly`: what takes too long for every commit, part by part. A part that passed is not run again on the same code.

`python -m tests.nightly [PART ...]`; without a part, all that have not passed yet. `FRESH=1` in the environment forgets what passed.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PASSED = ROOT / "var" / "nightly" / "passed.json"
"""The code, and the seconds that each part took which passed on it."""

DELIVERY = ("test_delivery_under_change", "test_timeline_equivalence", "test_fanout_faults")
MARKED = ("batch", "clients", "demo", "environments", "imports", "installs")
"""Parts that a test of `make nightly` alone can say it belongs to."""
PARTS: dict[str, list[str]] = {part: ["-m", f"nightly(part='{part}')"] for part in MARKED} | {
    "delivery": [f"tests/online/{name}.py" for name in DELIVERY]
}
"""Part → arguments of pytest. `delivery` is tests of `make test` at full length."""
STEPS = "10000"
"""Of random histories, ten times those of `make test`; with as many, a worker is killed at every command."""


def code() -> str:
    """What is tested: the commit, and a hash of whatever was changed or added since."""

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout

    changed = hashlib.sha256(git("diff", "HEAD"))
    for name in git("ls-files", "--others", "--exclude-standard", "-z").split(b"\0")[:-1]:
        changed.update(name + (ROOT / os.fsdecode(name)).read_bytes())
    return f"{git('rev-parse', 'HEAD').decode().strip()} {changed.hexdigest()}"


def main(wanted: list[str]) -> int:
    """Runs each part that is wanted, or that has not passed; 1 when one fails. All are run, whatever fails."""
    if unknown := sorted(set(wanted) - PARTS.keys()):
        sys.exit(f"There is no part {', '.join(unknown)}; there are {', '.join(PARTS)}.")
    noted = json.loads(PASSED.read_text()) if PASSED.exists() else {}
    now = code()
    passed = noted.get("passed", {}) if noted.get("code") == now and not os.environ.get("FRESH") else {}
    if passed.keys() == PARTS.keys():
        passed = {}
    for part in wanted or [part for part in PARTS if part not in passed]:
        print(f"== nightly: {part}", flush=True)
        begun = time.monotonic()
        passed.pop(part, None)
        command = [sys.executable, "-m", "pytest", "-rs", "-s", *PARTS[part]]
        if subprocess.run(command, cwd=ROOT, env=os.environ | {"REX_TEST_STEPS": STEPS}).returncode == 0:
            passed[part] = round(time.monotonic() - begun)
        PASSED.parent.mkdir(parents=True, exist_ok=True)
        PASSED.write_text(json.dumps({"code": now, "passed": passed}))
    left = [part for part in wanted or PARTS if part not in passed]
    print("passed: " + ", ".join(f"{part} in {seconds} s" for part, seconds in passed.items()))
    print(f"not passed: {', '.join(left)}; `make nightly` runs them again" if left else "nothing is left")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
