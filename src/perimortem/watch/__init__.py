"""When is a process late, when is it hung: pure decisions on beats and a clock.

docs/states.md draws the states; ``target.TargetWatch`` is the machine, ``schedule.Schedule`` wakes
it no sooner than its deadline can have passed, ``tick.Tick`` notices when the monitor itself slept.
"""
