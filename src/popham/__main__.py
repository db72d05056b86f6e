"""``python -m popham``: the same as ``popham``."""

from popham.cli.main import main

main()
