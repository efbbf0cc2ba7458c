"""How good rankings are: protocols, metrics with intervals, peers, and Rex's own pipeline judged like any other system."""
