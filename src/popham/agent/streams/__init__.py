"""An agent's end of its streams: what waits on its disk, and when and how it is sent."""
