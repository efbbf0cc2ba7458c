"""The command `rex`, and what brings the other packages together on one machine."""
