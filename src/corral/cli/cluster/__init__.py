"""Commands for many servers behind one address."""
