"""Bounded access to the system: files, locks, programs such as git and gpg, mounts, HTTP and YAML."""
