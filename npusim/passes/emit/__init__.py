"""Parts of operators, tiled to the scratchpad → tasks with their dependencies."""
