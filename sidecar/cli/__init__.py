"""What a person types: commands over a host in the process itself. Nothing else imports it."""
