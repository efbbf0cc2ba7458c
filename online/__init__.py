"""The feed service: aggregation, online checks, vectorised scoring, postprocessing. Read pipeline.py first."""
