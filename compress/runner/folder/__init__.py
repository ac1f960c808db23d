"""The folder of a run: whose it is, what lies where, and what may be changed in it."""
