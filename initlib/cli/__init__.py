"""The command line's commands, one file each: what a command does, its arguments, and `run`."""
