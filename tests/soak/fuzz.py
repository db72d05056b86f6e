"""Fuzz one target in a process of its own: ``fuzz.py TARGET FOLDER... [-OPTION=VALUE...]``.

The first folder receives inputs that reach new code; options are libFuzzer's.
"""

import sys

import atheris

with atheris.instrument_imports(include=["popham", "targets"]):
    from targets import TARGETS


def main():
    """Run until the options say enough; the exit code is 0 unless something was found."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
