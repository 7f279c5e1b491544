"""Collectives as real messages: steps of an algorithm (`schedule`) → sends, receives, additions."""
