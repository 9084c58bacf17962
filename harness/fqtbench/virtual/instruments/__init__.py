"""Emulated power monitors: a board's current in virtual time, through an instrument's own protocol."""
