"""Talking to the other servers: connections, what they say of themselves, and requests that are passed on."""
