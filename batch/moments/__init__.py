"""Moments of the lake: all that a ranking could have known at an instant, from files, for whoever ranks or annotates without Redis."""
