"""Many servers behind one address: who they are, which of them a request goes to, and where models lie.

`view` is what a gateway knows at a moment; what decides is a pure function of it.
"""
