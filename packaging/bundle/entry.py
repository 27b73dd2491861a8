"""The first module that the folder runs."""

from sidecar.__main__ import main

main()
