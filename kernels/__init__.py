"""Backtest kernels: arrays in, arrays out, on NumPy, Numba and CUDA."""
