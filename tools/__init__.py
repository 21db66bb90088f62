"""What makes the generated documents; nothing of the program needs it.

`python -m tools.documents` writes them (`make docs`).
"""
