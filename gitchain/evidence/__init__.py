"""Floor 1: statements, predicates, digests, manifests, envelopes, bundles and transparency-log maths.

Pure: bytes and values in, values or errors out; no files, clock, network, randomness or logging.
"""
