"""HTTP/1.x on sockets: request heads, bodies, answers, connections. Knows nothing of models."""
