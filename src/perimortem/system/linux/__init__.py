"""The loop's operating system layer on Linux."""
