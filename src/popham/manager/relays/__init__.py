"""What a Manager answers to Proxy Managers, and what it believes of what they say."""
