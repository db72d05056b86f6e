"""Generated protobuf modules of OpAMP and of our custom messages; see ``proto/`` and ``make proto``."""
