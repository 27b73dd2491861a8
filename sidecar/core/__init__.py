"""The base of all other packages: errors, the log, the system, secrets, addresses. Imports only `protocol`."""
