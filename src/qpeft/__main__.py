"""``python -m qpeft`` is the command line."""

from qpeft.cli import main

if __name__ == "__main__":
    main()
