"""A real server's run, replayed request by request from its measured kernels."""
