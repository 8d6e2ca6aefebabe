"""Asking model servers over HTTP: one client, one retry policy, one reading of their failures."""
