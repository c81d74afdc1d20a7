"""The fault campaign: everything around perimortem is made to fail, and the losses are counted.

One file for each row of docs/reliability.md. A row has cases, each with a name that repeats it; a case
is played in a separate process, in its own directories. Nothing is simulated: the command line, the
kernel and the file systems are real.
"""
