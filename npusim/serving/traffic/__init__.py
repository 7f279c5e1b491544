"""The traffic of a scenario and its seed → the requests that arrive, drawn or of a trace."""

from npusim.serving.traffic.generate import requests_of

__all__ = ["requests_of"]
