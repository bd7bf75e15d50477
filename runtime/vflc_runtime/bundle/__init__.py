"""Reads what the compiler wrote, and believes none of it before it is checked."""
