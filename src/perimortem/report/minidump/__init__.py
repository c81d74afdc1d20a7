"""Any minidump, listed: ``document`` as JSON, ``text`` like WinDbg's .dumpdebug. Pure."""
