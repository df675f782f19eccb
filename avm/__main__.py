"""`python -m avm`."""

from avm.cli import main

if __name__ == "__main__":
    main()
