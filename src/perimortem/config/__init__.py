"""Settings from flags, environment and files, each with the place that it came from."""
