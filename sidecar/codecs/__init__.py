"""Bytes → frames: a module for each format, sans-IO."""
