"""Monitor of transparency logs: checks log consistency and unexpected use of your identity."""
