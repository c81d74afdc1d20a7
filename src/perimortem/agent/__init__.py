"""The Python side of the agent: runs inside the programs that are watched.

Only the standard library is imported here, and nothing is ever raised into the program.
"""
