"""A mixed load and what it shows: what `bench.bench_soak` is made of."""
