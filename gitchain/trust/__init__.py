"""Trusted roots: profiles, TUF, an archive of past roots, and consent to publish."""
