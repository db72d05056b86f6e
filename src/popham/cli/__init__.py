"""The command line: parses arguments, asks the REST API or starts a process, prints.

Data goes to standard output, talk to standard error; exit codes stand in
``popham.cli.exits``. Nothing imports this package.
"""
