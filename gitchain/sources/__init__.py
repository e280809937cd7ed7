"""Evidence sources: this repository, others, registries and directories; and what was seen of each."""
