"""The command line: `app` lists the commands, each lives in a module of its own. No trading here."""
