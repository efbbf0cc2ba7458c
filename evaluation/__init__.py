"""How good rankings are: protocols, metrics with intervals, baselines, and Rex's own pipeline judged like any other system."""
