"""`python -m rex`, and the script `rex`: Ctrl-C is silent from the start, also while the command is still being loaded."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Loads the command and runs it."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from rex.cli.commands import main as run

    run()


if __name__ == "__main__":
    main()
