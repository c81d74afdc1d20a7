"""The monitor: the only package that wires exits, recorders, watch, dumps, stacks and store together."""
