"""Test cases for layouts, signed by a throw-away Sigstore instance."""
