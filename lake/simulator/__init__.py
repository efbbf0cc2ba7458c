"""A synthetic Medium with known truth, written as a raw lake."""

from lake.simulator.config import WorldConfig, WorldSummary
from lake.simulator.run import simulate

__all__ = ["WorldConfig", "WorldSummary", "simulate"]
