"""Test cases for layouts, signed by a temporary Sigstore instance."""
