"""The doors: parse, authenticate, authorise, map errors. No rules."""
