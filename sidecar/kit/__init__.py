"""The conformance kit: plays the sidecar to a host and says what the host does wrong. See `protocol/KIT.md`."""
