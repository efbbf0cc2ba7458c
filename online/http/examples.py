"""Examples of what is sent and answered, for the schema at /docs. Tests send what is sent, and hold each against its schema."""

from __future__ import annotations

from typing import Any

EVENTS: tuple[dict[str, Any], ...] = (
    {
        "event_id": "e-1",
        "user_id": "u-1",
        "type": "read",
        "story_id": "s-1",
        "occurred_at": "2026-01-31T11:59:30Z",
        "dwell_s": 42.5,
        "request_id": "3f0c9d5f5a1b4f6e8c2d7a90",
        "position": 0,
    },
    {
        "event_id": "e-2",
        "user_id": "u-1",
        "type": "follow",
        "target_type": "author",
        "target_id": "a-1",
        "occurred_at": "2026-01-31T11:59:40Z",
    },
)
RECEIPT = {
    "accepted": 1,
    "duplicates": 0,
    "rejected": [{"index": 1, "code": "malformed", "detail": "event: read needs story_id"}],
}
STORY: dict[str, Any] = {
    "author_id": "a-1",
    "publication_id": None,
    "topics": ["birds", "spring"],
    "language": "en",
    "title": "What the swifts know",
    "published_at": "2026-01-31T08:00:00Z",
    "reading_time_s": 240.0,
    "visibility": "public",
    "members_only": False,
    "updated_at": "2026-01-31T08:00:00Z",
}
STORY_RECEIPT = {"story_id": "s-1", "position": "1769860800000-0", "applied": True}
ACCOUNT: dict[str, Any] = {
    "languages": ["en", "pt"],
    "is_member": True,
    "created_at": "2025-06-01T09:30:00Z",
    "updated_at": "2026-01-30T18:00:00Z",
}
USER_RECEIPT = {"user_id": "u-1", "position": "1769860800000-0", "applied": True}
_SLATE = {
    "id": "109226af898a557e25f2de5c",
    "built_at": "2026-01-31T12:00:00Z",
    "snapshot": "20260131T000000Z-1-9f86d081884c7d65",
    "model": "weighted",
    "variant": "control",
    "cached": False,
    "candidates": 48211,
}
FEED = {
    "request_id": "3f0c9d5f5a1b4f6e8c2d7a90",
    "items": [
        {
            "story_id": "s-1",
            "author_id": "a-1",
            "publication_id": "p-1",
            "topics": ["birds", "spring"],
            "title": "What the swifts know",
            "published_at": "2026-01-31T08:00:00Z",
            "position": 0,
            "score": 0.41,
            "sources": ["followed_authors", "fresh_stories"],
            "reason": "From an author you follow",
            "promoted": False,
        }
    ],
    "next_cursor": "eyJzIjoiMTA5MjI2YWYiLCJpIjoxfQ.Zx3k",
    "new_count": 0,
    "story_position": "1769860800000-0",
    "slate": _SLATE,
    "degraded": [],
}
USER = {
    "user_id": "u-1",
    "known": True,
    "created_at": "2025-06-01T09:30:00Z",
    "is_member": True,
    "languages": ["en", "pt"],
    "follows": {"author": ["a-1"], "publication": [], "topic": ["birds"]},
    "mutes": {"author": [], "publication": [], "topic": []},
    "blocks": {"author": [], "publication": [], "topic": []},
    "hides": [],
    "reports": [],
    "recent_reads": ["s-1"],
    "profile_age_s": 43200.0,
    "snapshot": "20260131T000000Z-1-9f86d081884c7d65",
}
SNAPSHOTS = {
    "snapshots": [
        {
            "version": "20260131T000000Z-1-9f86d081884c7d65",
            "as_of": "2026-01-31T00:00:00Z",
            "age_s": 43200.0,
            "counts": {"stories": 500000, "authors": 40000, "users": 200000},
            "size_bytes": 310000000,
            "current": True,
        }
    ]
}
READINESS = {
    "status": "ready",
    "snapshot": "20260131T000000Z-1-9f86d081884c7d65",
    "stories": 500000,
    "story_position": "1769860800000-0",
    "warnings": [],
}
FIELD_ERROR = {"where": "query.limit", "what": "Input should be less than or equal to 100"}
DETAILS = {
    "invalid_cursor": "the cursor is not one of this service",
    "origin_not_allowed": "pages of https://shop.example are not allowed; REX_ONLINE_HTTP_CORS_ORIGINS names those that are",
    "not_found": "there is nothing at /v1/stories/s-1/, which ends in a slash",
    "method_not_allowed": "/v1/events takes POST",
    "hash_collision": "the id 'a-2' has the same 64-bit hash as 'a-1'; choose another id",
    "cursor_expired": "the pagination session of this cursor is forgotten",
    "body_too_large": "the body is larger than 4 MiB",
    "too_many_events": "1001 events in one request; send at most 1000",
    "unsupported_media_type": "Content-Type 'text/csv': send JSON as application/json",
    "invalid_request": f"{FIELD_ERROR['where']}: {FIELD_ERROR['what']}",
    "internal_error": "the request failed here; the log says why",
    "corrupt_value": "a profile in Redis is damaged",
    "unavailable": "no snapshot is loaded yet",
}
"""`detail` of a problem, by its name."""
EXPLANATION: dict[str, Any] = {
    "user_id": "u-1",
    "slate": _SLATE,
    "stages": [
        {"stage": "preprocess", "in": 48211, "out": 47002, "dropped": {"already_read": 1209}, "parts": {}, "ms": 1.4}
    ],
    "degraded": [],
    "languages": {"known_from": "profile", "read": ["en", "pt"]},
    "story": {
        "story_id": "s-1",
        "known": True,
        "sources": ["followed_authors", "fresh_stories"],
        "positions": {"aggregate": 812, "rank": 3, "blend": 0},
        "features": {"story_age_h": 4.0, "follows_author": 1.0},
        "contributions": {"follows_author": 0.3, "story_age_h": 0.11},
        "score": 0.41,
        "rank": 3,
        "moves": [{"step": "blend", "reason": "followed", "from": 3, "to": 0}],
    },
}
