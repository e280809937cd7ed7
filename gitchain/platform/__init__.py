"""Bounded access to the system: processes, foreign files, mounts and HTTP bodies."""
