"""Request and reply formats: one module or package a wire, sans-IO."""
