"""Ranking systems under one interface: simple feeds, collaborative filters from PyPI, and Rex's own pipeline."""
