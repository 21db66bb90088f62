"""The command line's entrance: `executor` and `python -m executor`."""

import gc


def main() -> None:
    # What is imported is no garbage: to look for some in it again and again takes a tenth of a short command's time.
    gc.disable()
    from executor.cli.app import run  # noqa: PLC0415

    run()


if __name__ == "__main__":
    main()
