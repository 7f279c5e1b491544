"""A batch → how long its iteration takes: simulated, looked up, or run live."""
