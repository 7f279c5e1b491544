"""Recorded NoC traces of Tenstorrent Wormhole, replayed on the engine."""
