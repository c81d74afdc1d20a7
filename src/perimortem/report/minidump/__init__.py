"""Any minidump, listed: ``document`` as JSON, ``text`` as WinDbg's .dumpdebug has it. Pure."""
