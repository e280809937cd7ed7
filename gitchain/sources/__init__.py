"""Evidence sources: this repository, others, registries and directories; and the last seen state of each."""
