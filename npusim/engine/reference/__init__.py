"""The reference engine: the rules of the machine as plain simpy processes, to be read."""

from npusim.engine.reference.run import Machine, run

__all__ = ["Machine", "run"]
