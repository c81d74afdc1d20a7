"""DWARF call frame information: how to get from the registers of a function to those of its caller."""
