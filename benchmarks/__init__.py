"""What the kernels cost, measured beside other ways to do the same work: `python -m benchmarks`."""
