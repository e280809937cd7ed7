"""Admission: whether what a cluster is about to run serves only models whose chain passed.

`review` reads what the API server asks, `models` finds what an object serves, `engine` decides about digests and
remembers for a while, `admission` puts both together under the rules of the operator, `app` speaks HTTP, `server` TLS.
docs/admission.md is the reference. A webhook cannot see a model's bytes: what is loaded is checked on the node.
"""
