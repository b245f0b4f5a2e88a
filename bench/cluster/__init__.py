"""A cluster in virtual time: the real router and placement, simulated nodes and clients."""
