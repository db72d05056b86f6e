"""Bytes on the way: listener and dialer, behind one seam."""
