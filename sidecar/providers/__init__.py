"""A request's provider, model, settings and credential, resolved into one target."""
