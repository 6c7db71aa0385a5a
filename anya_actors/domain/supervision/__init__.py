"""Supervision in OTP's terms: strategies, intensity windows, backoff, escalation."""
