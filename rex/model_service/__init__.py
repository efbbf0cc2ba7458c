"""Hosts models as a process of its own, and the client with which the feed service asks it."""
