"""When is a process late, when is it hung: pure decisions on beats and a clock.

docs/states.md draws the states; ``target.TargetWatch`` is the machine, and
``wakeup_delay.WakeupDelayDetector`` notices when the monitor itself slept.
"""
