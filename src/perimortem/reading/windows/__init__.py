"""Windows: directly."""
