"""Traces for OpenTelemetry, an extra: what is imported here is imported only where CORRAL_TRACES is set."""
