"""Traffic and a setup → a ServeRun: requests through instances, iteration by iteration."""
