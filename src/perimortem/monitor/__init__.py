"""The monitor: the only place that wires exits, recorders, watch, dumps, stacks and store together."""
