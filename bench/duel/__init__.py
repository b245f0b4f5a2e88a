"""A benchmark of chat servers against each other: what `bench.bench_duel` is made of."""
