"""Linear layers as products of a few kinds: as they are, packed for the CPU, or in int8."""
