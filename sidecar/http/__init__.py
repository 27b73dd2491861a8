"""HTTP/1.1 itself: what goes over a connection, and connections. `sidecar.upstream.http_client` is the door to it."""
