"""The outside world: processes, files of others, mounts and HTTP bodies, each behind one bounded function."""
