"""The cluster over HTTP: what this node says of itself, requests that go to other nodes, and lists of all of them."""
