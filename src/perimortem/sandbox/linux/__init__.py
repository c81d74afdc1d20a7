"""Linux: limits, rights, seccomp and Landlock."""
