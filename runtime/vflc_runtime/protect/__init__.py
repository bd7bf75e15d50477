"""Protections at work: noise, draws that are kept, masks, and the proof that each of them ran."""
