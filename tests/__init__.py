"""The tests of gitchain: a directory for each package of the code, and what they share in `tests.support`."""
