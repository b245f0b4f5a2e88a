"""What the parsers of several families share: reading content, thinking and calls in any cut of a stream."""
