"""The index of a fleet: what many sources attest, in one database, and questions to it (docs/fleets.md)."""
