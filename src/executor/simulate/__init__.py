"""The core and the matching engine face to face: virtual time, no sockets, no files.

`executor simulate` runs recorded markets through it at full speed; the fault simulation of the tests is built on it.
"""
