"""The Python side of the agent: runs inside other people's programs.

Only the standard library is imported here, and nothing is ever raised into the program.
"""
