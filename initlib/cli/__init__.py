"""Commands of the command line, one file each: a docstring for the help, `add_arguments` and `run`."""
