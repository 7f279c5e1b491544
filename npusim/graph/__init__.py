"""Model and batch → operators with shapes, FLOPs and elements (a networkx DiGraph of `Op`)."""
