"""Graph, chip and mapping → Program; `pipeline.lower` is the visible list of passes."""
