"""Settings from flags, environment and files, each with its origin."""
