"""``python -m hub``, and the console script ``hub``: signals first, then the desk with its libraries."""

import sys

from hub.process import early_signals


def main() -> None:
    """Run ``hub`` with the process's arguments and end the process with its exit status."""
    early_signals.expect(sys.argv[1:])
    from hub import cli

    cli.main()


if __name__ == "__main__":
    main()
