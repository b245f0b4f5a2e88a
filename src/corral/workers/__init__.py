"""Work that cannot be interrupted, done in processes that can be killed: `pool.run_job`.

See docs/decisions/0040-worker-processes.md for what belongs here and what does not. Nothing is imported here,
because a worker that starts imports this.
"""
