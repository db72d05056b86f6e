"""Generated; see ``popham.opamp.schema``."""
