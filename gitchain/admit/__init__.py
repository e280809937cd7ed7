"""Kubernetes admission: admit only objects whose models are verified.

`review` parses the API server's requests, `models` finds the models that an object serves, `layout_evaluator` decides
about digests and `verdict_cache` caches the verdicts, `admission` applies the operator's rules, `app` is the HTTP
layer, `server` the process.

docs/admission.md is the reference. A webhook cannot read a model's bytes: the node verifies what is loaded.
"""
