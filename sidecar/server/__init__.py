"""The process: descriptors, lines, dispatch, the write queue, open requests, shutdown."""
