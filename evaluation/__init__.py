"""How good rankings are: protocols, metrics with intervals, baselines, and Rex's own pipeline evaluated like any other system."""
