"""Traffic and a setup → a ServeRun: requests through instances, batch by batch, in simulated time."""
