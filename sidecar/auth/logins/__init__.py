"""Where credentials are kept, and how a login is made, renewed or imported."""
