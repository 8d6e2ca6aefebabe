"""Requests to model servers over HTTP: the client, the retry policy, and the classification of failures."""
