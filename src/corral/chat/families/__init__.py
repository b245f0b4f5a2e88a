"""One file a chat family: how it writes prompts, reads replies and calls tools. The list of them is in `known`."""
