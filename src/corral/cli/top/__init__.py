"""`top`: what the server does, live."""
