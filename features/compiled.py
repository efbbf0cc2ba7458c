"""Plain loops over arrays, compiled when they are first called; the machine code is kept for the next start if it can be."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

log = logging.getLogger("rex.features")

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function, signature: Any = None, *, nogil: bool = False) -> Function:
    """`function` of arrays and numbers, as machine code.

    With a `signature` (numba's) it is compiled at once, for that alone. `nogil`: lets other threads run meanwhile.
    """
    try:
        return _machine_code(function, signature, cache=True, nogil=nogil)
    except RuntimeError as error:  # neither beside this file nor in the home directory; NUMBA_CACHE_DIR names another
        log.info("compiled again at every start: %s", error)
        return _machine_code(function, signature, nogil=nogil)


def part(function: Function) -> Function:
    """A function that only compiled ones call; without what Python would need to call it, it is compiled in half the time."""
    return _machine_code(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _machine_code(function: Function, signature: Any = None, **options: bool) -> Function:
    made: Function = cast(Any, njit)(signature, **options)(
        function
    )  # its own types know neither all options nor what comes out
    return made
