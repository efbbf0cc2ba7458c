"""Errors that a user caused and can fix."""


class BadInput(Exception):
    """Bad input. The message is one sentence: what is wrong, where, and what to do. The command line exits with 1."""


class Older(BadInput):
    """The features are of an earlier moment than those of the current snapshot, and nobody asked to go back."""


class Unavailable(Exception):
    """Something Rex needs is not there (Redis, a snapshot, Java). The message says what, where, and what to do."""


class InUse(Unavailable):
    """Another process holds what this one needs, for a while: retry later."""
