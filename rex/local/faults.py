"""What can go wrong around Rex, as one sentence with what to do: the table behind the command line, the log of a task and docs/what-can-go-wrong.md.

Errors are recognised by the names of their classes, by errno and by their text, along the whole chain of causes, so that neither
Spark nor Redis has to be imported here.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from pydantic import ValidationError
from pydantic_settings import SettingsError

from features.errors import BadInput, Unavailable
from features.packing import CorruptValue
from features.settings import variable_of

STEERING = (
    "JAVA_HOME", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "HADOOP_CONF_DIR", "SPARK_CONF_DIR", "SPARK_LOCAL_DIRS",
    "SPARK_LOCAL_IP", "REX_BATCH_SPARK_MASTER", "REX_BATCH_DRIVER_MEMORY",
)  # fmt: skip
"""Environment variables that can keep Spark from starting."""
_PIPELINE = re.compile(r"^Command # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)
"""How redis-py begins the message of a pipeline's error: with the command, all bytes of its keys and values."""
_AS_JSON = {
    "tuple_type": "Input should be a list written as JSON, such as [1, 2]",
    "dict_type": 'Input should be a mapping written as JSON, such as {"read": 6}',
}
"""What pydantic asks for where the environment has text that is not JSON, in a user's words."""
_ENGINES = ("pyspark.PySparkException", "py4j.Py4JError", "duckdb.Error", "pyarrow.ArrowException")


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of trouble. An error is of this kind when all that is given of `kinds`, `errnos` and `pattern` fits it."""

    what: str
    """Its heading on the generated page; not printed."""
    sentence: str
    """What the user sees; `{path}` and the pattern's named groups are filled in, `{said}` with the error's first line."""
    advice: str
    """What to do, an imperative clause."""
    kinds: tuple[str, ...] = ()
    """Exception classes as `package.Name`, subclasses included; empty: any."""
    errnos: tuple[int, ...] = ()
    pattern: str = ""
    """Searched for in the error's text."""
    passes: bool = True
    """Whether it may pass without a change of the input, so that a scheduled task is worth a retry."""

    def explain(self, error: BaseException) -> str | None:
        """The sentence with its advice; None when the error is of another kind."""
        packages = ((kind, kind.__module__.partition(".")[0].lstrip("_")) for kind in type(error).__mro__)
        names = {f"{package}.{kind.__name__}" for kind, package in packages}  # an extension is `_duckdb`
        if self.kinds and not names & set(self.kinds):
            return None
        if self.errnos and getattr(error, "errno", None) not in self.errnos:
            return None
        found = re.search(self.pattern, str(error))
        if found is None:
            return None
        path = getattr(error, "filename", None)
        known = {"path": "" if path is None else f": {os.fsdecode(path)}", "said": first_line(error)}
        known |= {name: unquote(text or "") for name, text in found.groupdict().items()}  # Spark's paths are URLs
        return f"{self.sentence.format(**known)}; {self.advice}."


CLUSTER = Fault(
    "Redis is a cluster or a Sentinel",
    "The Redis at REX_REDIS_URL is part of a Redis Cluster or a Sentinel, which Rex does not support",
    "name a single Redis or Valkey server",
    ("redis.RedisError",),
    pattern=r"MOVED|CLUSTERDOWN|CROSSSLOT|Hash slot not served|same slot|^\d+ [\w.]*:\d+$",  # the client drops the word MOVED: "1234 10.0.0.1:6379"
    passes=False,
)
EVICTION = Fault(
    "Redis may evict",
    "The Redis at REX_REDIS_URL has a memory limit and maxmemory-policy {said}, which drops accepted events and parts of the "
    "snapshot when the memory is full",
    "set maxmemory-policy noeviction, or REX_REDIS_MAY_EVICT=true to be warned in /readyz only",
    ("rex.Evicting",),
    passes=False,
)
FAULTS = (
    Fault(
        "The disk is full",
        "The disk is full{path}",
        "make room and run it again; nothing half-written counts",
        kinds=("builtins.OSError",),
        errnos=(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    ),
    Fault(
        "The disk is full, in Spark or DuckDB",
        "The disk that the lake or REX_VAR is on is full",
        "make room and run it again; nothing half-written counts",
        _ENGINES,
        pattern=r"No space left on device|Disk quota exceeded|File too large",
    ),
    Fault(
        "A file may not be read or written",
        "Access is denied{path}",
        "give this user the right to read and write there, or name another place (REX_VAR, REX_LAKE or the option)",
        kinds=("builtins.OSError",),
        errnos=(errno.EROFS, errno.EACCES, errno.EPERM),
        passes=False,
    ),
    Fault(
        "A file may not be read or written, in Spark or DuckDB",
        "Access to the lake or to REX_VAR is denied ({said})",
        "give this user the right to read and write there, or name another place with REX_VAR or REX_LAKE",
        _ENGINES,
        pattern=r"Read-only file system|Permission denied|AccessControlException|Mkdirs failed to create",
        passes=False,
    ),
    Fault(
        "A path leads to something of another kind",
        "There is a directory where a file is to be, or the other way round{path}",
        "name another path",
        kinds=("builtins.IsADirectoryError", "builtins.NotADirectoryError", "builtins.FileExistsError"),
        passes=False,
    ),
    Fault(
        "A file is not there",
        "There is no such file or directory{path}",
        "check the path",
        kinds=("builtins.FileNotFoundError",),
    ),
    Fault(
        "Too many files are open",
        "This process may not open more files",
        "raise the limit (`ulimit -n 4096`) and run it again",
        kinds=("builtins.OSError",),
        errnos=(errno.EMFILE, errno.ENFILE),
    ),
    Fault(
        "Too many files are open, in Spark or DuckDB",
        "Spark or DuckDB may not open more files",
        "raise the limit (`ulimit -n 4096`) and run it again",
        _ENGINES,
        pattern="Too many open files",
    ),
    Fault(
        "A path is too long",
        "A path is longer than this system allows{path}",
        "use a shorter one",
        kinds=("builtins.OSError",),
        errnos=(errno.ENAMETOOLONG,),
        passes=False,
    ),
    Fault(
        "A port is taken",
        "The address is in use by another program ({said})",
        "stop that program or name another --port",
        kinds=("builtins.OSError",),
        errnos=(errno.EADDRINUSE,),
    ),
    Fault(
        "Redis asks for a password",
        "Redis asks for a user name and password, or refuses the ones it was given",
        "write them into REX_REDIS_URL: redis://user:password@host:6379/0, or redis://:password@… without a user",
        pattern=r"Authentication required|HELLO must be called with the client already authenticated|NOAUTH|WRONGPASS|invalid username-password|invalid password|Client sent AUTH",
        kinds=("redis.RedisError",),
        passes=False,
    ),
    Fault(
        "Redis forbids a command",
        "The Redis user of REX_REDIS_URL lacks a permission ({said})",
        "give it all commands and the keys under REX_REDIS_PREFIX: ACL SETUSER … ~rex:* +@all",
        ("redis.RedisError",),
        pattern="NOPERM|no permissions",
        passes=False,
    ),
    Fault(
        "Redis is full",
        "Redis has no memory left",
        "raise its maxmemory or keep fewer snapshots with REX_SNAPSHOTS_KEPT",
        ("redis.RedisError",),
        pattern="OOM command not allowed|used memory > 'maxmemory'|out of memory",
    ),
    Fault(
        "Redis cannot save",
        "Redis accepts no writes, because it cannot save them to its disk",
        "make room on its disk and look into its log",
        ("redis.RedisError",),
        pattern="MISCONF",
    ),
    Fault(
        "REX_REDIS_URL names a replica",
        "The Redis at REX_REDIS_URL is a read-only replica",
        "name the primary",
        ("redis.RedisError",),
        pattern="READONLY|read only replica",
        passes=False,
    ),
    CLUSTER,
    EVICTION,
    Fault(
        "Redis does not answer",
        "Redis does not answer ({said})",
        "start it, correct REX_REDIS_URL, or unset that to use the bundled server",
        ("redis.ConnectionError", "redis.TimeoutError"),
    ),
    Fault(
        "Redis answers with an error",
        "Redis does not answer as it should ({said})",
        "look into its log; Rex needs Redis 6.2 or newer, or Valkey",
        ("redis.RedisError",),
    ),
    Fault(
        "SPARK_LOCAL_IP is no address of this machine",
        "SPARK_LOCAL_IP is not an address of this machine",
        "unset it, or set it to 127.0.0.1",
        _ENGINES,
        pattern=r"Cannot assign requested address|UnresolvedAddressException",
        passes=False,
    ),
    Fault(
        "Spark has too little memory",
        "Spark ran out of memory",
        "give it more with REX_BATCH_DRIVER_MEMORY (such as 4g)",
        _ENGINES,
        pattern=r"OutOfMemoryError|Java heap space|GC overhead limit|Could not reserve enough space",
    ),
    Fault(
        "DuckDB has too little memory",
        "DuckDB needs more memory than it may take ({said})",
        "let the SQL or the query do with less: fewer values in one group, or without a sort of everything",
        ("duckdb.OutOfMemoryException",),
        passes=False,
    ),
    Fault(
        "A Parquet file is damaged",
        "Spark cannot read {file} although its footer is whole: {why}",
        "write it again",
        _ENGINES,
        pattern=r"(?s)FAILED_READ_FILE\S* .*? file file:/*(?P<file>/.*?)\. [^/]*?SQLSTATE(?:.*Caused by: (?P<why>[^\n]+))?",
        passes=False,
    ),
    Fault(
        "The Java process ended",
        "Spark's Java process has ended",
        "run it again; if it ends again, it was probably killed for its memory: lower REX_BATCH_DRIVER_MEMORY",
        ("py4j.Py4JNetworkError",),
    ),
    Fault(
        "Spark does not start",
        "Spark does not start",
        f"see spark/spark.log under REX_VAR, and check what steers Spark and Java: {', '.join(STEERING)}",
        _ENGINES,
        pattern="JAVA_GATEWAY_EXITED|Java gateway process exited",
    ),
)
"""The first that fits is what is said: the specific ones come before the general ones."""


SECRET = "KEYS"
"""In the name of a variable: its value is never printed."""


def refusal(error: BaseException, during: str = "") -> BadInput | Unavailable | None:
    """The error as one that Rex raises itself: a sentence and what to do, `during` in front. None when nobody foresaw it.

    BadInput when only other input can help, Unavailable when it may pass. What Rex has raised itself stays as it is.
    """
    if isinstance(error, (BadInput, Unavailable)):
        return error
    if isinstance(error, CorruptValue):
        return Unavailable(str(error))
    if isinstance(error, ValidationError):
        return BadInput(f"bad setting: {'; '.join(_invalid(error)).rstrip('.')}.")
    if isinstance(error, SettingsError):
        return BadInput(f'bad setting: {first_line(error)}; a list is written as JSON, such as \'["a", "b"]\'.')
    for one in _chain(error):
        for fault in FAULTS:
            if (sentence := fault.explain(one)) is not None:
                kind = Unavailable if fault.passes else BadInput
                return kind(f"{during}: {sentence}" if during else sentence)
    return None


def _invalid(error: ValidationError) -> Iterator[str]:
    """What is wrong with each value, under the name of its environment variable where it is a setting."""
    for one in error.errors():
        place = variable_of(error.title, one["loc"]) or ".".join(map(str, one["loc"]))
        if one["type"] == "value_error":  # a sentence of Rex's own, often about several values together
            yield f"{place}: {one['ctx']['error']}" if place else str(one["ctx"]["error"])
            continue
        said = one["msg"].partition(", unable to")[0]
        if one["type"] in _AS_JSON:
            said = _AS_JSON[one["type"]]
        must = re.sub(r"^\w+ should ", "must ", said)
        got = "what it is" if SECRET in place else repr(one["input"])
        yield f"{place} {must}, not {got}" if must != said else f"{place}: {said} (got {got})"


def first_line(error: BaseException) -> str:
    """The first line of what the error says, without what is not readable; for an error of Java's, that of Java."""
    text = _PIPELINE.sub("", str(error))
    of_java = re.search(r"^: [\w.$]+: (.+)$", text, re.MULTILINE)
    line = of_java[1] if of_java else (text.strip().splitlines() or [type(error).__name__])[0]
    return "".join(c if c.isprintable() else "?" for c in line)[:300]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from; not what was merely being handled, which may have nothing to do with it."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__
