"""OpenTelemetry: a trace of each request, where the operator has said where traces go."""
