"""The producer's and the consumer's steps, in order: what the verbs and the hooks call."""
