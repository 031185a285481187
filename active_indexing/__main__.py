"""``python -m active_indexing`` is the command ``active-indexing``."""

from active_indexing.cli.interrupts import exit_with, leave_quietly

leave_quietly()  # before all that takes time


def main() -> None:
    """The command as a process of its own."""
    from active_indexing.cli.main import main

    exit_with(main)


if __name__ == "__main__":
    main()
