"""Where a proxy keeps the frames of agents until they are above: a log on the disk, and what is known of it in memory."""
