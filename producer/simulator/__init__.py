"""A simulated shop: `simulate(SimulationOptions(...))` yields records in the order in which they are to be sent."""

from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions

__all__ = ["SimulationOptions", "simulate"]
