"""Signing: keyless with any Sigstore trust config (docs/design.md section 3)."""
