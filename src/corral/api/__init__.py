"""The HTTP surface: decode and validate, call one service, stream what it emits."""
