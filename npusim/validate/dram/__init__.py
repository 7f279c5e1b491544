"""A DRAM channel command by command, and the engine's kernel held against it."""
