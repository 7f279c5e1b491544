"""An operator graph and a chip whose cores share memory and cache → a Program of kernels."""
