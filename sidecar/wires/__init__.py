"""Request and reply formats: a module or a package for each wire, sans-IO."""
