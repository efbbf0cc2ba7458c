"""Reads a snapshot back out of Redis, every piece checked against its name. Publisher and online service share it."""

from __future__ import annotations

