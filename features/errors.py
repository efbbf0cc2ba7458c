"""Errors that a user caused and can mend."""


class BadInput(Exception):
    """Bad input. The message is one sentence: what is wrong, where, and what to do. The command line exits with 1."""


class Unavailable(Exception):
    """Something Rex needs is not there (Redis, a snapshot, Java). The message says what, where, and what to do."""
