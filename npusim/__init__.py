"""npusim: a discrete-event, transaction-level simulator of LLM inference on multi-core NPUs."""

__version__ = "0.1.0"
