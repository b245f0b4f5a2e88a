"""The SystemOne API: typed questions, answered with probabilities."""
