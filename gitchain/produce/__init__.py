"""Attestations for users: steps, stages, versions, revocations, deployments and their exchange."""
