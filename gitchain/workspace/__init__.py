"""A repository's configuration and the user's own directory."""
