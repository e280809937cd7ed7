"""The Git-ref attestation store, its synchronisation between clones, the outbox and the hook queue."""
