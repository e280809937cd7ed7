"""Git-native provenance for machine-learning models."""

__version__ = "0.2.0"
