"""Callers that use an HSM while its processes are killed, and the reckoning afterwards."""
