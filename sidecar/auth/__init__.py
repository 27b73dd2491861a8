"""Credentials to headers: one module a scheme in `schemes/`, stored logins in `logins/`."""
