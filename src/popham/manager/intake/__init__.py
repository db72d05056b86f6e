"""The Manager's intake: frames of agents are verified, written to segments, and acknowledged once they are durable."""
