"""A Redis to talk to: the one of REX_REDIS_URL, else a server of our own under `var/redis`.

Several processes of one machine share that server. Each holds a shared lock while it uses it; after the last of them,
rex/local/redis_keeper.py stops it in good order. Its data stay on disk.
"""

from __future__ import annotations

import asyncio
import fcntl
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import hiredis
import redis
import redis.asyncio
import redis.asyncio.retry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from features.errors import BadInput
from features.settings import Settings
from rex.local.faults import refusal
from rex.local.redis_server import Server

RETRIES = 2
"""Two more tries bridge a restart or a failover of Redis; what takes longer has to be seen by the caller. Only lost
connections are tried again: a server that hangs has had its time, and might carry out a command twice."""
BACKOFF_BASE_S, BACKOFF_CAP_S = 0.05, 0.5
"""Waits between tries: 0.1 s and 0.2 s, doubling from the base."""

Info = Mapping[str, Any]
"""What `INFO` answers; empty: the user may not ask."""
UNKNOWN = (
    "the eviction policy of this Redis is unknown (INFO is forbidden); "
    "make sure that it is noeviction, because any other loses accepted events and snapshots"
)

_MORE = object()
"""What the parser says when the rest of an answer is still to come."""
_ADDRESS = {"host", "port", "path", "db", "username", "password", "socket_timeout", "socket_connect_timeout"}


@contextmanager
def connect(settings: Settings, timeout_s: float | None = None) -> Iterator[redis.Redis]:
    """A client of Redis that answers: bytes in, bytes out.

    `timeout_s` is the longest wait for one answer, `settings.redis_timeout_s` by default. Unavailable when Redis cannot
    be reached; BadInput when the URL is none, asks for a password, is a cluster or may evict keys. The client is closed at the end; safe to
    share between threads.
    """
    with ExitStack() as stack:
        url = settings.redis_url or stack.enter_context(_own_server(settings.var / "redis")).url
        client = stack.enter_context(_client(url, timeout_s or settings.redis_timeout_s))
        try:
            client.ping()
        except redis.RedisError as error:
            raise refusal(error, blank_password(url)) or error from error
        why = unfit(info_of(client))
        if why is not None and not (isinstance(why, Evicting) and settings.redis_may_evict):
            raise refusal(why) or why
        yield client


def info_of(client: redis.Redis) -> Info:
    """One round trip. INFO and not CONFIG, which managed servers forbid; an ACL may forbid INFO as well."""
    try:
        return cast(Info, client.info())
    except redis.ResponseError:
        return {}


async def info_on_loop(client: redis.asyncio.Redis) -> Info:
    """As `info_of`, on the event loop."""
    try:
        return await client.info()
    except redis.ResponseError:
        return {}


class Evicting(Exception):
    """The server may drop keys; the message is its policy."""


def unfit(info: Info) -> Exception | None:
    """What keeps Rex from using this server, as `refusal` words it; None: nothing, or it is not known."""
    if info.get("redis_mode", "standalone") != "standalone" or info.get("cluster_enabled"):
        return redis.RedisError("CLUSTERDOWN")
    policy = info.get("maxmemory_policy", "noeviction")
    return Evicting(policy) if policy != "noeviction" and info.get("maxmemory") else None


def doubts(info: Info) -> list[str]:
    """Sentences for the log and for /readyz: what may be lost on this Redis, and how to prevent it."""
    if not info:
        return [UNKNOWN]
    found = [str(refusal(why))] if (why := unfit(info)) else []
    if info.get("maxmemory") and info["used_memory"] >= info["maxmemory"]:
        found.append("Redis has no memory left: it refuses events and new feeds; raise its maxmemory")
    if info.get("aof_enabled") == 0:
        found.append(
            "this Redis runs with appendonly no: acknowledged events that are not archived yet would not survive its "
            "restart; set appendonly yes (docs/runbook.md)"
        )
    return found


def on_loop(client: redis.Redis) -> redis.asyncio.Redis:
    """A client of the same Redis for an event loop, with its timeouts. It connects when first used, and does not try again on its own."""
    pool = client.connection_pool
    kind = {
        redis.UnixDomainSocketConnection: redis.asyncio.UnixDomainSocketConnection,
        redis.SSLConnection: redis.asyncio.SSLConnection,
    }.get(pool.connection_class, redis.asyncio.Connection)
    given = {k: v for k, v in pool.connection_kwargs.items() if k in _ADDRESS or k.startswith("ssl_")}
    return redis.asyncio.Redis(connection_pool=redis.asyncio.ConnectionPool(connection_class=kind, **given))


Command = tuple[str | bytes | int, ...]


def round_trip(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """What Redis answers to commands that only read, all sent at once; in half the time of the client's own pipeline.

    As the protocol has it: a hash is a dict, a score a float, a stream entry a list of its id and its fields. RedisError.
    """
    connection: Any = client.connection_pool.get_connection()  # redis-py has no types for what one does with it

    def exchange() -> list[Any]:
        try:
            connection.send_packed_command([packed])
            return [connection.read_response() for _ in commands]
        except BaseException:
            connection.disconnect()  # what was not read must not answer another's question
            raise

    try:
        packed = _packed(commands)
        answers: list[Any] = connection.retry.call_with_retry(exchange, lambda error: None)
        return answers
    finally:
        client.connection_pool.release(connection)


def _packed(commands: Sequence[Command]) -> bytes:
    """A quarter of the time that redis-py's own packing takes."""
    pack: Any = hiredis.pack_command  # its stub allows commands of one word only
    return b"".join(map(pack, commands))


class LoopReader:
    """`round_trip` for an event loop. All requests share one connection, and none waits for the answer to another before it asks:
    this takes a third of the time that a connection of redis-py's takes there, and half that of a thread with `round_trip`."""

    def __init__(self, client: redis.Redis) -> None:
        """Of the same Redis as `client`, with its timeout. Connects when first used."""
        self._client = on_loop(client)
        self._timeout_s: float | None = client.connection_pool.connection_kwargs.get("socket_timeout")
        self._retry = redis.asyncio.retry.Retry(_backoff(), RETRIES, (redis.ConnectionError,))
        self._connecting = asyncio.Lock()
        self._answers: _Answers | None = None

    async def round_trip(self, commands: Sequence[Command]) -> list[Any]:
        """What Redis answers, as with the function `round_trip`."""
        packed = _packed(commands)

        async def exchange() -> list[Any]:
            answers: _Answers | None = None
            try:
                async with asyncio.timeout(self._timeout_s):
                    answers = await self._connected()
                    return await answers.ask(packed, len(commands))
            except TimeoutError as error:
                hung = redis.TimeoutError("Timeout reading from socket")
                if answers is not None:
                    # The one that was asked: others may have connected again meanwhile. Who waits beside this request is not tried
                    # again either, because a server that hangs takes as long each time.
                    answers.drop(hung)
                raise hung from error

        return await self._retry.call_with_retry(exchange, _nothing)

    async def close(self) -> None:
        """Gives the connection back."""
        if self._answers is not None:
            self._answers.drop(redis.ConnectionError("the service ends"))
        await self._client.aclose()

    async def _connected(self) -> _Answers:
        if self._answers is not None and not self._answers.gone():
            return self._answers
        async with self._connecting:
            if self._answers is None or self._answers.gone():
                pool: Any = self._client.connection_pool
                connection = pool.make_connection()
                try:
                    await connection.connect()
                except BaseException:
                    await connection.disconnect(nowait=True)
                    raise
                self._answers = _Answers(connection)
            return self._answers


class _Answers(asyncio.Protocol):
    """The answers that come in over one connection, in the order of the questions. Waiters get redis.RedisError."""

    def __init__(self, connection: Any) -> None:
        """Over a connection of redis-py's that has logged in; from now on nobody else reads or writes there."""
        self._connection = connection  # which would close its transport when it is collected
        self._parser = hiredis.Reader(
            replyError=connection._parser.parse_error, protocolError=redis.InvalidResponse, notEnoughData=_MORE
        )
        self._waiting: deque[tuple[asyncio.Future[list[Any]], list[Any], int]] = deque()
        self._lost: redis.RedisError | None = None
        self.transport = connection._writer.transport
        self.transport.set_protocol(self)

    def ask(self, packed: bytes, n: int) -> asyncio.Future[list[Any]]:
        """The answers to n commands."""
        asked = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, [], n))
        self.transport.write(packed)
        return asked

    def gone(self) -> bool:
        """Whether nothing more can be asked."""
        return self._lost is not None or self.transport.is_closing()

    def drop(self, why: redis.RedisError) -> None:
        """Closes the connection at once; all who wait get `why`."""
        self._lost = why
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Part of an answer, or of several."""
        self._parser.feed(data)
        while (answer := self._parser.gets()) is not _MORE:
            if isinstance(answer, hiredis.PushNotification):
                continue  # no answer to anything
            asked, answers, n = self._waiting[0]
            answers.append(answer)
            if len(answers) == n:
                self._waiting.popleft()
                if not asked.done():  # else whoever asked has gone
                    failed = next((answer for answer in answers if isinstance(answer, Exception)), None)
                    asked.set_result(answers) if failed is None else asked.set_exception(failed)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more comes."""
        why = self._lost = self._lost or redis.ConnectionError(f"Connection closed by server. {exc or ''}".strip())
        for asked, _, _ in self._waiting:
            if not asked.done():
                asked.set_exception(why)
        self._waiting.clear()


def blank_password(url: str) -> str:
    """`url` fit for logs: the password, wherever it stands, is `***`."""
    in_login = re.sub(r"(://[^:/@]*:)[^/]*@", r"\1***@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", in_login)


def _backoff() -> ExponentialBackoff:
    return ExponentialBackoff(cap=BACKOFF_CAP_S, base=BACKOFF_BASE_S)


async def _nothing(error: Exception) -> None:
    """What is done before another try: the next one connects by itself."""


def _client(url: str, timeout_s: float) -> redis.Redis:
    retry = Retry(_backoff(), RETRIES, supported_errors=(redis.ConnectionError,))
    try:
        path = urlsplit(url).path.strip("/")
        if not url.startswith("unix:") and path and not path.isdecimal():
            raise BadInput(f"REX_REDIS_URL ends in /{path}, which is not a database number; write redis://host:port/0.")
        if "protocol" in parse_qs(urlsplit(url).query):
            raise BadInput("REX_REDIS_URL names a protocol; leave it out, Rex reads the answers of RESP 3.")
        return redis.Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=retry, decode_responses=False
        )
    except (ValueError, TypeError) as error:
        raise BadInput(
            f"REX_REDIS_URL is not an address of Redis: {blank_password(url)}; write redis://host:port/0 or unix:///path."
        ) from error


@contextmanager
def _own_server(directory: Path) -> Iterator[Server]:
    """The server over `directory`, started unless it runs already; it ends when nobody uses it any more."""
    directory.mkdir(parents=True, exist_ok=True)
    server = Server(directory, users=directory / "users.lock")
    with (directory / "users.lock").open("w") as users:  # closed, and so unlocked, in what this process executes
        with (directory / "starting.lock").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)  # one starts it, the others find it
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while the keeper still stops it
            if server.state() == "absent":
                server.start()
            server.wait_until_ready()
        yield server
