"""The contract between batch and online: datasets, features, formulas, Redis values and keys.

Imports neither `batch` nor `online`, and needs neither Spark nor FastAPI.
"""
