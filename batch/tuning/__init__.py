"""Chooses what depends on the data (half-lives, the fit of vectors) on a slice of the lake itself, within a stated time."""
