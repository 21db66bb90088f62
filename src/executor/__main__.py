"""The command line's entrance: `executor` and `python -m executor`."""

from executor.cli.app import run


def main() -> None:
    run()


if __name__ == "__main__":
    main()
