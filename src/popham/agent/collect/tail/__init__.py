"""Log files: found by globs, followed through rotation and restarts, line by line into the stream ``logs``."""
