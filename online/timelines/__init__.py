"""Delivery: who is pushed what, what is pulled instead, and how timelines are repaired."""
