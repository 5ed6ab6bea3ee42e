"""`python -m harness`: the command `bench`, for launchers that start a module (torchrun, accelerate)."""

from harness.cli.main import main

main()
