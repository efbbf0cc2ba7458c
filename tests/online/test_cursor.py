"""Cursors read back as written, for their user only; the key is made once and shared."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer
from itsdangerous.encoding import base64_encode

from online.slates.cursor import Cursor, CursorCodec, InvalidCursor, cursor_keys
from online.slates.slate import Watermark

SOME = Cursor("0123456789abcdef01234567", 20, 18, "home", Watermark(1_769_860_800_000_000, "s1", 7))


@given(st.text(min_size=1), st.integers(0, 1000), st.integers(0, 10_000), st.integers(0, 2**62), st.text())
def test_a_cursor_reads_back_for_its_user(user: str, index: int, delivered: int, at_us: int, story_id: str) -> None:
    codec = CursorCodec(["key"])
    cursor = Cursor("slate", index, delivered, "home", Watermark(at_us, story_id, index))
    assert codec.decode(codec.encode(cursor, user), user) == cursor


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        CursorCodec(["key"]).decode(text, "u")


def test_another_users_cursor_is_refused() -> None:
    codec = CursorCodec(["key"])
    with pytest.raises(InvalidCursor):
        codec.decode(codec.encode(SOME, "u-one"), "u-two")


def test_a_cursor_of_another_version_is_refused_with_its_version() -> None:
    content = base64_encode(orjson.dumps([1, "0123456789abcdef01234567", 20, 18]))
    signature = Signer(["key"], salt="rex.cursor").get_signature(content + b".u")
    older = (content + b"." + signature).decode()
    with pytest.raises(InvalidCursor, match="version 1; this service reads version 3"):
        CursorCodec(["key"]).decode(older, "u")


def test_old_keys_verify_until_they_are_taken_away() -> None:
    text = CursorCodec(["old"]).encode(SOME, "u")
    assert CursorCodec(["old", "new"]).decode(text, "u") == SOME
    with pytest.raises(InvalidCursor):
        CursorCodec(["new"]).decode(text, "u")


def test_a_key_is_made_once_and_shared_by_processes_that_start_together(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: tuple(cursor_keys((), tmp_path)), range(8)))
    assert len(set(keys)) == 1
    assert len(keys[0][0]) >= 32
    assert stat.S_IMODE((tmp_path / "cursor.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["cursor.key"]


def test_configured_keys_are_used_as_they_are(tmp_path: Path) -> None:
    assert cursor_keys(("one", "two"), tmp_path) == ("one", "two")
