"""Bytes to frames: one module a format, sans-IO."""
