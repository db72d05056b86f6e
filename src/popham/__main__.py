"""``python -m popham``: the same as ``popham``."""

from popham.cli.start import main

main()
