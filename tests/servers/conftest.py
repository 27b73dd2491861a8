"""`make servers` alone collects these tests: it installs what they need and says where."""

import os

if "SIDECAR_SERVERS" not in os.environ:
    collect_ignore_glob = ["test_*.py"]
