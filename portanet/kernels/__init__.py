"""What the standard lacks, and faster versions of hot operations, one file a library.

`generic` defines each name in pure Array API calls and is the oracle in the tests. The other files may hold any subset
of these names, or of the standard's own, and nothing else.
"""
