"""What is printed is what the data say, whatever they look like."""

from __future__ import annotations

import io

from rich.console import Console

from online.printing import print_feed


def test_titles_and_ids_that_look_like_markup_are_printed_as_they_are() -> None:
    item = {
        "story_id": "s1", "author_id": "[/]", "publication_id": None, "published_at": "2026-01-31T00:00:00Z",
        "position": 0, "title": "How [not] to [/b] write", "reason": "About [x], which you follow", "score": 1.0, "sources": [],
    }  # fmt: skip
    slate = {"snapshot": "v", "model": "m", "candidates": 1, "cached": False, "id": "x"}
    console = Console(file=io.StringIO(), width=200)
    print_feed(console, "[red]u", {"items": [item], "slate": slate, "degraded": []}, {"stages": []})
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("How [not] to [/b] write", "About [x], which you follow", "[/]", "Feed of [red]u"):
        assert text in printed


def test_the_path_of_a_story_tells_what_moved_it_from_where_to_where_and_why() -> None:
    moves = [{"step": "blend", "reason": "author_cap", "from": 2, "to": 20}]
    story = {"story_id": "s1", "known": True, "sources": ["trending"], "positions": {"rank": 2}, "moves": moves}
    slate = {"snapshot": "v", "model": "m", "candidates": 1, "cached": False, "id": "x"}
    console = Console(file=io.StringIO(), width=200)
    print_feed(console, "u", {"items": [], "slate": slate, "degraded": []}, {"stages": [], "story": story})
    printed = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "moved by blend" in printed
    assert "3. → 21. (author cap)" in printed
