"""Who waits for whom, on Linux: from /proc."""
