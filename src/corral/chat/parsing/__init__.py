"""Reads replies while they stream: content, thinking and tool calls, whatever the cut of the stream."""
