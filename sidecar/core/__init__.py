"""What every other package stands on: errors, the log, the system, secrets, addresses. Imports only `protocol`."""
