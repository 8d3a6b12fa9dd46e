"""`python -m homeguard` is the command `homeguard`."""

from homeguard.cli import main

if __name__ == "__main__":
    main()
