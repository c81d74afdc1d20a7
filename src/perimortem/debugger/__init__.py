"""Open the user's debugger on a dump: the command line, and the script that it runs first. Pure."""
